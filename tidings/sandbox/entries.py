"""What the sandbox writes down: one line of JSON for each accepted message."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

import msgspec


class MailEntry(msgspec.Struct, frozen=True, tag_field="channel", tag="email"):
    """One mail as it came in; ``content`` is the RFC 5322 message with dot-stuffing removed."""

    id: str
    received_at: datetime
    sender: str
    to: tuple[str, ...]
    content: bytes


class TextEntry(msgspec.Struct, frozen=True, tag_field="channel", tag="sms"):
    id: str
    received_at: datetime
    sender: str | None
    to: tuple[str, ...]
    body: str
    account: str
    messaging_service: str | None = None


class WebhookEntry(msgspec.Struct, frozen=True, tag_field="channel", tag="webhook"):
    """One webhook call; ``to`` holds the path that was called."""

    id: str
    received_at: datetime
    to: tuple[str, ...]
    headers: dict[str, list[str]]
    body: bytes


Entry: TypeAlias = MailEntry | TextEntry | WebhookEntry

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


def line_of(entry: Entry) -> bytes:
    return _encoder.encode(entry) + b"\n"


def entry_of(line: bytes) -> Entry:
    """Raises ``msgspec.DecodeError`` when the line is not an entry."""
    return _decoder.decode(line)
