"""SMTP replies, read strictly (RFC 5321 section 4.2), and how a conversation breaks off."""

from __future__ import annotations

import re

import msgspec

from workers.channels.reply_text import reply_text

LONGEST_REPLY = 32 * 1024
"""Octets of one whole reply; the largest real ones are EHLO answers of a few thousand."""

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])([^\r\n]*))?\r?\n")
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


class Reply(msgspec.Struct, frozen=True):
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
    code, texts, offset = b"", [], 0
    while (end := received.find(b"\n", offset) + 1) > 0:
        line = _LINE.fullmatch(received, offset, end)
        if line is None or (code and line[1] != code):
            raise UnreadableError(reply_text(f"not a reply: {received[offset:end].decode(errors='replace')}"))
        code, offset = line[1], end
        texts.append((line[3] or b"").decode(errors="replace"))
        if line[2] != b"-":
            return Reply(int(code), " ".join(texts)), offset
    if len(received) > LONGEST_REPLY:
        raise UnreadableError(f"a reply longer than {LONGEST_REPLY} octets")
    return None
