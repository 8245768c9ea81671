"""What a person may see of a notification's events: everything that explains it, and nothing secret.

No code, no reference to one, no arguments; addresses and numbers only as far as they can be recognised
by someone who knows them already.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from event_log.envelope import RecordedEvent
from event_log.errors import Undecodable
from notification_domain.notification_events import (
    AttemptStarted,
    Event,
    FeedbackReceived,
    NotificationCancelled,
    NotificationDeclined,
    NotificationRequested,
    NotificationSent,
    OutcomeUnknown,
    ResendRequested,
    RetryRequested,
    TransmissionStarted,
)
from notification_domain.recipients import User

_SHOWN: dict[type[Event], tuple[str, ...]] = {
    NotificationRequested: (
        "rule",
        "message_type",
        "channel",
        "user_id",
        "origin",
        "expires_at",
        "code_expires_at",
        "priority",
        "decided_at",
    ),
    NotificationDeclined: ("rule", "message_type", "channel", "user_id", "reason", "decided_at"),
    AttemptStarted: ("attempt", "provider"),
    TransmissionStarted: ("attempt",),
    RetryRequested: ("attempt", "error", "stage", "backoff", "not_before", "counts"),
    OutcomeUnknown: ("attempt", "error", "stage", "aftermath", "not_before"),
    NotificationSent: (
        "attempt",
        "provider",
        "provider_message_id",
        "reply",
        "template_version",
        "text_version",
        "by",
    ),
    NotificationCancelled: ("reason", "attempt", "error", "stage", "by"),
    ResendRequested: ("reason", "not_before", "expires_at", "by"),
    FeedbackReceived: ("attempt", "provider", "provider_message_id", "status", "standing", "code", "error"),
}
"""Fields by event, each chosen: a new field stays hidden until somebody decides otherwise."""

_IN_OTHERS_WORDS = frozenset({"error", "reply", "reason"})
"""Texts of providers and operators, who like to repeat the address."""
_EMAIL = re.compile(r"([^\s<>()\[\]\"',:;@]+)@([^\s<>()\[\]\"',:;@]+)")
_PHONE = re.compile(r"\+\d[\d ().-]{5,20}\d")


def timeline(events: Sequence[RecordedEvent]) -> list[dict[str, Any]]:
    """The events as REST shows them, in the order given."""
    entries: list[dict[str, Any]] = []
    for event in events:
        entry: dict[str, Any] = {
            "type": event.topic,
            "at": event.recorded_at,
            "position": str(event.position),
        }
        if isinstance(event.fact, Event):
            entries.append(entry | _fields(event.fact))
        elif isinstance(event.fact, Undecodable):
            entries.append(entry | {"unreadable": True})
    return entries


def mask_address(address: str) -> str:
    """``b…@example.com`` or ``+49…89``."""
    name, at, domain = address.rpartition("@")
    return f"{name[:1]}…@{domain}" if at else f"{address[:3]}…{address[-2:]}"


def mask_text(text: str) -> str:
    """The text with every e-mail address and telephone number in it masked."""
    text = _EMAIL.sub(lambda found: mask_address(found[0]), text)
    return _PHONE.sub(lambda found: mask_address(found[0]), text)


def _fields(fact: Event) -> dict[str, Any]:
    fields = {name: getattr(fact, name) for name in _SHOWN[type(fact)]}
    shown = {
        name: mask_text(value) if name in _IN_OTHERS_WORDS else value
        for name, value in fields.items()
        if value not in (None, "")
    }
    if isinstance(fact, RetryRequested | OutcomeUnknown) and fact.recipient:
        shown["recipient"] = _recipient(fact.recipient)
    return shown


def _recipient(user: User) -> dict[str, str]:
    addresses = {
        "email": user.last_email or user.verified_email,
        "phone": user.last_phone or user.verified_phone,
    }
    return {name: mask_address(address) for name, address in addresses.items() if address}
