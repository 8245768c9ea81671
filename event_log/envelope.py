"""What the log wraps around a fact when it is written, and what a reader gets back.

Neither these nor facts ever hold a cycle, so the collector need not look at them (``gc=False``): a reader
makes thousands at a time.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

import msgspec

from event_log.errors import Undecodable
from event_log.keyring import KeyId
from notification_domain.delivery_events import SettingsEvent
from notification_domain.notification_events import Event


class SourceEvent(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An event another service appended, as the log keeps it: secrets replaced by references."""

    source: str
    id: str
    type: str
    subject: str
    time: datetime | None = None
    data: dict[str, Any] = {}
    extensions: dict[str, str] = {}


Fact: TypeAlias = Event | SettingsEvent | SourceEvent


class Envelope(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A fact on its way into the log. ``subject`` names whose key seals what is personal."""

    instance: str
    stream: UUID
    version: int
    subject: str
    fact: Fact
    event_id: UUID | None = None
    fingerprint: bytes = b""
    """HMAC-SHA256 over what makes two appended events the same; empty for our own events."""


Recorded: TypeAlias = Fact | Undecodable


class RecordedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event read from the log; an unreadable one says why instead of stopping the reader."""

    position: int
    instance: str
    stream: UUID
    version: int
    topic: str
    recorded_at: datetime
    fact: Recorded
    key_id: KeyId | None = None
    """Which key sealed it; None for what is stored in clear."""
