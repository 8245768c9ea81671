"""Stored names of our events, apart from class paths, and how old bodies are brought up to date.

A topic never disappears and never changes its meaning: ``tests/event_log/topics.golden.json`` holds a
stored body of every topic and schema version that ever was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from notification_domain import delivery_events as delivery
from notification_domain import notification_events as events


class Topic(msgspec.Struct, frozen=True):
    name: str
    fact: type[events.Event | delivery.SettingsEvent]
    schema: int = 1
    personal: bool = False
    """Sealed under the recipient's key: it may hold names, addresses or what a provider said of them."""
    upcasters: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = ()
    """The n-th brings a body of schema n to n + 1."""


def _as_it_was(body: dict[str, Any]) -> dict[str, Any]:
    """Only fields with a default were added."""
    return body


TOPICS: tuple[Topic, ...] = (
    Topic("notification.requested", events.NotificationRequested, personal=True),
    Topic("notification.declined", events.NotificationDeclined),
    Topic("notification.attempt.started", events.AttemptStarted),
    Topic("notification.transmission.started", events.TransmissionStarted),
    Topic("notification.retry.requested", events.RetryRequested, personal=True),
    Topic("notification.outcome.unknown", events.OutcomeUnknown, personal=True),
    Topic("notification.sent", events.NotificationSent, 2, personal=True, upcasters=(_as_it_was,)),
    Topic("notification.cancelled", events.NotificationCancelled, 2, personal=True, upcasters=(_as_it_was,)),
    Topic("notification.resend.requested", events.ResendRequested, 2, personal=True, upcasters=(_as_it_was,)),
    Topic("notification.feedback.received", events.FeedbackReceived, personal=True),
    Topic("tidings.delivery.paused", delivery.DeliveryPaused, personal=True),
    Topic("tidings.delivery.resumed", delivery.DeliveryResumed, personal=True),
)

OURS = "notification."
"""What stands in the streams of notifications."""
SETTINGS = "tidings."
"""What operators have set, in streams of settings."""
RESERVED = (OURS, SETTINGS)
"""Topics that begin so are written by us alone."""
