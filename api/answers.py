"""JSON answers: their shapes, of which the OpenAPI document is made too."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from starlette.responses import Response

from projections.history import Notification

_encode = msgspec.json.Encoder().encode


class AppendedEvent(msgspec.Struct, frozen=True):
    """``id`` is the caller's; ``position`` the event's place in the log, which only grows."""

    id: str
    position: str
    duplicate: bool


class AppendedEvents(msgspec.Struct, frozen=True):
    items: list[AppendedEvent]


class SourceEventName(msgspec.Struct, frozen=True):
    """The caller's event that a notification derives from, by the caller's own names."""

    source: str
    id: str
    type: str


class NotificationItem(msgspec.Struct, frozen=True, kw_only=True):
    """One notification; ``position`` is that of its decision."""

    id: UUID
    state: str
    reason: str | None
    message_type: str
    channel: str
    user_id: str | None
    organisation_id: str | None
    source_event: SourceEventName
    attempts: int
    requested_at: datetime
    closed_at: datetime | None
    position: str


class NotificationPage(msgspec.Struct, frozen=True):
    """Newest first; ``position`` is the place in the log up to which this answer is complete."""

    items: list[NotificationItem]
    next: str | None
    position: str
    lag_ms: int


class CommandedNotification(NotificationItem, frozen=True, kw_only=True):
    """A notification as a command has left it; a list with ``min_position`` of ``reached`` shows it so."""

    reached: str


class PauseItem(msgspec.Struct, frozen=True):
    """Null stands for all: every channel, or the whole deployment. ``by`` is the id of an API key."""

    instance: str | None
    channel: str | None
    reason: str
    by: str
    since: datetime
    position: str


class DeliveryStatus(msgspec.Struct, frozen=True):
    """What is paused for the key's instance, the oldest first."""

    items: list[PauseItem]


class DeliveryChanged(msgspec.Struct, frozen=True):
    """``changed`` is false when it was so already; nothing was recorded then."""

    changed: bool
    items: list[PauseItem]


class QuarantinedEvent(msgspec.Struct, frozen=True):
    """An event that the handler could not digest, or that waits behind one in its ``stream``."""

    position: str
    type: str
    stream: UUID
    reason: str
    quarantined_at: datetime


class QuarantinePage(msgspec.Struct, frozen=True):
    """In the order of the log; ``next`` is the ``after`` of the following page."""

    items: list[QuarantinedEvent]
    next: str | None


class RedrivenStream(msgspec.Struct, frozen=True):
    """``handled`` are positions that have left the quarantine; ``remaining`` is what had to stay."""

    handled: list[str]
    remaining: list[QuarantinedEvent]


class ProviderPause(msgspec.Struct, frozen=True):
    """Nothing is attempted until then: the account was at fault ``faults`` times in a row."""

    until: datetime
    faults: int
    error: str


class SmsProvider(msgspec.Struct, frozen=True):
    """``missing`` names what must be set before it can be activated; ``settings`` holds no secret."""

    id: str
    kind: str
    description: str
    active: bool
    missing: list[str]
    settings: dict[str, str]
    paused: ProviderPause | None


class SmsProviders(msgspec.Struct, frozen=True):
    """``unreadable`` says why the list may not be whole."""

    items: list[SmsProvider]
    unreadable: str | None


class NewSmsProvider(msgspec.Struct, frozen=True):
    """``signing_key`` is shown this once, when one was made."""

    provider: SmsProvider
    signing_key: str | None


class NotificationDetail(NotificationItem, frozen=True, kw_only=True):
    """A notification with its events, oldest first: ``type``, ``at``, ``position`` and fields of its own."""

    timeline: list[dict[str, Any]]


class Health(msgspec.Struct, frozen=True):
    status: str


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Never to be cached: what it tells is private and moves on."""
    return Response(
        _encode(value),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        media_type="application/json",
    )


def item(notification: Notification) -> NotificationItem:
    return NotificationItem(**item_fields(notification))


def item_fields(notification: Notification) -> dict[str, Any]:
    return {
        "id": notification.id,
        "state": notification.state,
        "reason": notification.reason,
        "message_type": notification.message_type,
        "channel": notification.channel,
        "user_id": notification.user_id or None,
        "organisation_id": notification.organisation_id or None,
        "source_event": SourceEventName(notification.source, notification.event_id, notification.event_type),
        "attempts": notification.attempts,
        "requested_at": notification.requested_at,
        "closed_at": notification.closed_at,
        "position": str(notification.position),
    }
