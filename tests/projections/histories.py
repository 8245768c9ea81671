"""Notification streams as the handler and workers write them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from event_log.envelope import Envelope
from event_log.log import Log
from notification_domain.notification_events import (
    Aftermath,
    AttemptStarted,
    Event,
    NotificationCancelled,
    NotificationDeclined,
    NotificationRequested,
    NotificationSent,
    OutcomeUnknown,
    Reason,
    ResendRequested,
    RetryRequested,
    Source,
    TransmissionStarted,
)
from notification_domain.recipients import User

SPACE = UUID(int=7)
AT = datetime(2026, 11, 20, 10, tzinfo=UTC)
CODE = "S3CRET99"
REFERENCE = "secret:8d0c9a4e-3a53-5d0b-9a3e-7a1d6f0b52c4"
ADA = User(user_name="ada", last_email="ada.lovelace@example.com", last_phone="+491701234567")


def requested(number: int = 1, **changes: object) -> NotificationRequested:
    fields: dict[str, object] = {
        "rule": "user.human.email.code.added",
        "message_type": "VerifyEmail",
        "channel": "email",
        "source": Source(f"user/{number}", 1, "auth", f"event-{number}", "user.human.email.code.added"),
        "user_id": str(number),
        "arguments": {"ExpirySeconds": "3600"},
        "origin": "https://login.example.com",
        "url_template": f"https://login.example.com/?code={CODE}",
        "secret": REFERENCE,
        "expires_at": AT + timedelta(hours=1),
        "supersede_key": "user.human.email.code.added",
        "priority": 0,
        "decided_at": AT,
        "position_seen": 1,
    }
    return NotificationRequested(**(fields | changes))  # type: ignore[arg-type]  # an example is data


def declined(number: int = 1, reason: Reason = Reason.CODE_RETURNED) -> NotificationDeclined:
    asked = requested(number)
    return NotificationDeclined(
        rule=asked.rule,
        message_type=asked.message_type,
        channel=asked.channel,
        source=asked.source,
        reason=reason,
        user_id=asked.user_id,
        decided_at=AT,
        position_seen=1,
    )


SENT: tuple[Event, ...] = (
    AttemptStarted(1, 5, "smtp"),
    TransmissionStarted(1),
    NotificationSent(attempt=1, provider="smtp", provider_message_id="m-1", reply="250 ok"),
)
RETRIED: tuple[Event, ...] = (
    AttemptStarted(1, 5, "smtp"),
    RetryRequested(
        attempt=1,
        error="451 <ada.lovelace@example.com> try later, or call +49 170 1234567",
        stage="rcpt",
        recipient=ADA,
        backoff=5.0,
        not_before=AT,
    ),
)
PARKED: tuple[Event, ...] = (
    AttemptStarted(1, 5, "smtp"),
    TransmissionStarted(1),
    OutcomeUnknown(
        attempt=1, error="lost", stage="dot", aftermath=Aftermath.PARK, not_before=AT, recipient=ADA
    ),
)
REJECTED: tuple[Event, ...] = (
    AttemptStarted(1, 5, "smtp"),
    NotificationCancelled(reason=Reason.REJECTED, attempt=1, error="550 no", stage="rcpt"),
)
RESENT: tuple[Event, ...] = (
    *SENT,
    ResendRequested(reason="asked for", not_before=AT, expires_at=AT + timedelta(hours=1)),
    AttemptStarted(2, 6, "smtp"),
)


def stream(number: int, instance: str = "acme") -> UUID:
    return uuid5(SPACE, f"{instance} {number}")


def write(
    log: Log, number: int, facts: Sequence[Event], instance: str = "acme", version: int = 1
) -> list[int]:
    """Append facts to a notification's stream, from ``version`` on; their positions."""
    envelopes = [
        Envelope(
            instance=instance,
            stream=stream(number, instance),
            version=version + index,
            subject=f"user/{number}",
            fact=fact,
        )
        for index, fact in enumerate(facts)
    ]
    with log.appending() as append:
        append.write(envelopes, wake="notification")
        return append.written()
