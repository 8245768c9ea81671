"""Reads a mail the way a person's mail program would: subject, text, HTML."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message

import msgspec

_FOLD = re.compile(r"\r?\n(?=[ \t])")


class ReadMail(msgspec.Struct, frozen=True):
    headers: dict[str, list[str]]
    subject: str | None
    text: str | None
    html: str | None


def read_mail(content: bytes) -> ReadMail:
    """Never raises: what cannot be understood is shown as it came."""
    # The old policy parses ten times faster than the new one, and listings are long.
    mail = message_from_bytes(content)
    headers = read_headers(mail)
    return ReadMail(headers, _subject(headers), _body(mail, "text/plain"), _body(mail, "text/html"))


def read_headers(mail: Message) -> dict[str, list[str]]:
    headers: dict[str, list[str]] = {}
    for name, value in mail.raw_items():
        headers.setdefault(name, []).append(_readable(str(value)))
    return headers


def _subject(headers: dict[str, list[str]]) -> str | None:
    return next((values[0] for name, values in headers.items() if name.lower() == "subject"), None)


def _readable(raw: str) -> str:
    """Unfold, read 8-bit headers as UTF-8 (RFC 6532), decode encoded words (RFC 2047)."""
    unfolded = _FOLD.sub("", raw)
    value = unfolded.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if "=?" not in value:
        return value
    try:
        return str(make_header(decode_header(value)))
    except (MessageError, ValueError, LookupError):
        return value


def _body(mail: Message, content_type: str) -> str | None:
    for part in mail.walk():
        if part.get_content_type() == content_type and part.get_content_disposition() != "attachment":
            return _decoded(part)
    return None


def _decoded(part: Message) -> str:
    payload = part.get_payload(decode=True)
    octets = payload if isinstance(payload, bytes) else b""
    try:
        text = octets.decode(part.get_content_charset("utf-8"), "replace")
    except (LookupError, ValueError):
        text = octets.decode("utf-8", "replace")
    return text.replace("\r\n", "\n")
