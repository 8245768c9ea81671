"""Header lines that stay the headers they were meant to be (RFC 5322, RFC 2047).

What comes from data is encoded, what comes from settings is refused where it could become structure.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from workers.rendering.errors import HeaderRefused

_LINE_ROOM = 67
"""Characters of a value beside the longest name we use, within a line of 78."""
_WORD_BYTES = 39
"""Bytes an encoded word may hold so that its line keeps within RFC 2047's 76 characters."""
_LONGEST_ADDRESS = 254
_LONGEST_DOMAIN = 253

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_FOLDED = re.compile(r"[ -~]*(?:\r\n [!-~][ -~]*)*")
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
)
_MESSAGE_ID = re.compile(r"<[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+>")
_FIELD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_UNQUOTABLE = re.compile(r'["\\]|=\?')
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_OURS = frozenset(
    {
        "from", "reply-to", "to", "subject", "date", "message-id", "mime-version", "auto-submitted",
        "content-type", "content-transfer-encoding", "content-disposition", "content-id",
        "sender", "cc", "bcc", "return-path", "received", "dkim-signature",
        "resent-from", "resent-to", "resent-cc", "resent-bcc", "resent-sender",
    }
)  # fmt: skip


def line(name: str, value: str) -> str:
    if not _FOLDED.fullmatch(value):
        raise HeaderRefused(f"the header {name} would break its line")
    return f"{name}: {value}\r\n"


def unstructured(text: str) -> str:
    """A subject as it stands if every reader takes it so, else as encoded words."""
    plain = text.isascii() and text.isprintable() and "=?" not in text and text == text.strip()
    return text if plain and len(text) <= _LINE_ROOM else _encoded_words(text)


def mailbox(address: str, name: str = "") -> str:
    """An address with its display name; raises HeaderRefused for line breaks and the like in either."""
    if _UNPRINTABLE.search(name):
        raise HeaderRefused("a sender's name holds control characters")
    spec = ascii_address(address)
    if not name:
        return spec
    if not name.isascii() or len(name) > _LINE_ROOM or _UNQUOTABLE.search(name):
        return f"{_encoded_words(name)}\r\n <{spec}>"
    fold = " " if len(name) + len(spec) < _LINE_ROOM else "\r\n "
    return f'"{name}"{fold}<{spec}>'


def ascii_address(address: str) -> str:
    """The bare address, its domain in ASCII form (IDNA); raises HeaderRefused where there is none.

    No quoted or non-ASCII local parts: not every server takes them, and quoting is where injection hides.
    """
    local, _, domain = address.rpartition("@")
    domain = _ascii_domain(domain)
    spec = f"{local}@{domain}"
    fits = _LOCAL_PART.fullmatch(local) and _DOMAIN.fullmatch(domain) and len(spec) <= _LONGEST_ADDRESS
    # Encoded words are legal characters in a local part, and some readers decode them.
    if not fits or "=?" in spec:
        raise HeaderRefused("an e-mail address is not of the form name@domain")
    return spec


def message_id(value: str) -> str:
    if not _MESSAGE_ID.fullmatch(value) or "=?" in value or len(value) > _LONGEST_ADDRESS:
        raise HeaderRefused("the Message-ID is not of the form <unique@domain>")
    return value


def date(moment: datetime) -> str:
    """In the form of RFC 5322; raises HeaderRefused when it is not aware."""
    if moment.tzinfo is None:
        raise HeaderRefused("the Date has no time zone")
    at = moment.astimezone(UTC)
    day, month = _DAYS[at.weekday()], _MONTHS[at.month - 1]
    return f"{day}, {at.day:02} {month} {at.year:04} {at.hour:02}:{at.minute:02}:{at.second:02} +0000"


def extra_line(name: str, value: str) -> str:
    """A header from the provider's settings; raises HeaderRefused for one that is ours to write."""
    if not _FIELD_NAME.fullmatch(name) or name.lower() in _OURS:
        raise HeaderRefused(f"the header {name!a} may not be set")
    if (
        not value.isascii()
        or not value.isprintable()
        or "=?" in value
        or len(name + value) > _LONGEST_ADDRESS
    ):
        raise HeaderRefused(f"the value of the header {name} is not plain text of one line")
    return line(name, value.strip())


def _ascii_domain(domain: str) -> str:
    if domain.isascii():
        return domain
    try:
        return domain[:_LONGEST_DOMAIN].encode("idna").decode("ascii")
    except UnicodeError:
        raise HeaderRefused("the domain of an e-mail address has no ASCII form") from None


def _encoded_words(text: str) -> str:
    words = (binascii.b2a_base64(chunk, newline=False).decode("ascii") for chunk in _chunks(text))
    return "\r\n ".join(f"=?utf-8?b?{word}?=" for word in words)


def _chunks(text: str) -> Iterator[bytes]:
    chunk = b""
    for character in text:
        following = character.encode()
        if len(chunk) + len(following) > _WORD_BYTES:
            yield chunk
            chunk = b""
        chunk += following
    yield chunk
