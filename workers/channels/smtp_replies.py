"""SMTP replies, read strictly (RFC 5321 section 4.2), and how a conversation breaks off."""

from __future__ import annotations

import re

import msgspec

from workers.channels.reply_text import reply_text

LONGEST_REPLY = 32 * 1024
"""Octets of one whole reply; the largest real ones are EHLO answers of a few thousand."""

_REPLY = re.compile(rb"([2-5][0-9][0-9])(-[^\r\n]*\r?\n(?:\1-[^\r\n]*\r?\n)*\1)?(?: ([^\r\n]*))?\r?\n")
_BEGUN = re.compile(rb"(?:([2-5][0-9][0-9])-[^\r\n]*\r?\n(?:\1-[^\r\n]*\r?\n)*)?[^\n]*")
_ENHANCED_CODE = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9.])")


class ConversationError(Exception):
    """The conversation with a server broke off.

    ConversationError
    ├── DroppedError      the connection is gone
    ├── TimedOutError     nothing came in time
    └── UnreadableError   what came is not SMTP
    """


class DroppedError(ConversationError):
    pass


class TimedOutError(ConversationError):
    pass


class UnreadableError(ConversationError):
    pass


class Reply(msgspec.Struct, frozen=True, gc=False):
    code: int
    text: str

    @property
    def enhanced_code(self) -> str:
        """The code of RFC 3463 such as ``5.1.1``, or nothing."""
        found = _ENHANCED_CODE.match(self.text)
        return found[0] if found else ""

    def __str__(self) -> str:
        return reply_text(f"{self.code} {self.text}")


def read_reply(received: bytes | bytearray) -> tuple[Reply, int] | None:
    """The first whole reply and its length in octets, or None when more must come.

    Raises UnreadableError for anything that cannot become a reply.
    """
    whole = _REPLY.match(received)
    if whole is not None:
        code, earlier, text = whole.groups(default=b"")
        if earlier:
            lines = (code + earlier).splitlines()[:-1]
            text = b" ".join([*(line[len("250-") :] for line in lines), text])
        return Reply(int(code), text.decode("utf-8", "replace")), whole.end()
    if not _BEGUN.fullmatch(received):
        raise UnreadableError(reply_text(f"not a reply: {received.decode(errors='replace')}"))
    if len(received) > LONGEST_REPLY:
        raise UnreadableError(f"a reply longer than {LONGEST_REPLY} octets")
    return None
