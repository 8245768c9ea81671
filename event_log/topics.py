"""Stored names of our events, apart from class paths, and how old bodies are brought up to date.

A topic never disappears and never changes its meaning: ``tests/event_log/topics.golden.json`` holds a
stored body of every topic and schema version that ever was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from notification_domain import notification_events as events


class Topic(msgspec.Struct, frozen=True):
    name: str
    fact: type[events.Event]
    schema: int = 1
    personal: bool = False
    """Sealed under the recipient's key: it may hold names, addresses or what a provider said of them."""
    upcasters: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = ()
    """The n-th brings a body of schema n to n + 1."""


TOPICS: tuple[Topic, ...] = (
    Topic("notification.requested", events.NotificationRequested, personal=True),
    Topic("notification.declined", events.NotificationDeclined),
    Topic("notification.attempt.started", events.AttemptStarted),
    Topic("notification.transmission.started", events.TransmissionStarted),
    Topic("notification.retry.requested", events.RetryRequested, personal=True),
    Topic("notification.outcome.unknown", events.OutcomeUnknown, personal=True),
    Topic("notification.sent", events.NotificationSent, personal=True),
    Topic("notification.cancelled", events.NotificationCancelled, personal=True),
    Topic("notification.resend.requested", events.ResendRequested, personal=True),
)

OURS = "notification."
"""Topics that begin so are written by us alone."""
