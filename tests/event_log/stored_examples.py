"""One valid example of every event that the log stores, and how to store it without a database."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from event_log.deployment_key import Seal
from event_log.envelope import Envelope, Fact, SourceEvent
from event_log.keyring import KeyId
from event_log.mapper import LogMapper, Row
from event_log.recorder import LogEntry
from notification_domain.delivery_events import DeliveryPaused, DeliveryResumed, SettingsEvent
from notification_domain.notification_events import (
    Aftermath,
    AttemptStarted,
    Event,
    FeedbackReceived,
    NotificationCancelled,
    NotificationDeclined,
    NotificationRequested,
    NotificationSent,
    OutcomeUnknown,
    Reason,
    ResendRequested,
    RetryRequested,
    Source,
    Standing,
    TransmissionStarted,
)
from notification_domain.recipients import User

STREAM = UUID("0a5f3a52-5cbe-5b0e-8d6c-0a1d7c2b9f11")
KEY_ID = UUID("7d3f5d5e-93b1-4a53-9c55-3a4a2c3d1e0f").bytes
RECORDED_AT = datetime(2026, 3, 1, 9, tzinfo=UTC)
SUBJECT_KEY = bytes(range(1, 33))
AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
ADA = User(user_name="ada", first_name="Ada", last_email="ada@example.com", last_phone="+41791234567")
_SOURCE = Source("user/42", 7, "auth", "event-1", "user.human.email.code.added")

FROM_CALLER = SourceEvent(
    source="auth",
    id="event-1",
    type="user.human.email.code.added",
    subject="user/42",
    time=AT,
    data={"code": "secret:5b0e", "_type_": "nope", "_data_": 1, "deep": [{"a": None}], "ä": 1.5},
    extensions={"traceparent": "00-ab"},
)

EXAMPLES: dict[str, Event] = {
    "notification.requested": NotificationRequested(
        rule="user.human.email.code.added",
        message_type="VerifyEmail",
        channel="email",
        source=_SOURCE,
        user_id="42",
        organisation_id="org",
        arguments={"AuthRequestID": "V2_1", "ExpirySeconds": "3600"},
        origin="https://login.example.com",
        url_template="https://login.example.com/verify?code={{.Code}}",
        secret="secret:5b0e",
        generator_id="",
        verified_only=False,
        otp=False,
        code_expires_at=AT + timedelta(hours=1),
        expires_at=AT + timedelta(hours=1),
        supersede_key="user.human.email.code.added",
        priority=0,
        decided_at=AT,
        position_seen=12,
    ),
    "notification.declined": NotificationDeclined(
        rule="user.human.email.code.added",
        message_type="VerifyEmail",
        channel="email",
        source=_SOURCE,
        reason=Reason.CODE_RETURNED,
        user_id="42",
        organisation_id="org",
        decided_at=AT,
        position_seen=12,
    ),
    "notification.attempt.started": AttemptStarted(1, 77, "sandbox"),
    "notification.transmission.started": TransmissionStarted(1),
    "notification.retry.requested": RetryRequested(
        attempt=1,
        error="450 4.2.0 mailbox busy",
        stage="rcpt",
        recipient=ADA,
        backoff=5.5,
        not_before=AT + timedelta(seconds=6),
        counts=True,
    ),
    "notification.outcome.unknown": OutcomeUnknown(
        attempt=1,
        error="connection lost",
        stage="dot",
        aftermath=Aftermath.RESEND,
        not_before=AT,
        recipient=ADA,
    ),
    "notification.sent": NotificationSent(
        attempt=2,
        provider="sandbox",
        provider_message_id="EM1",
        reply="250 2.0.0 Ok",
        template_version="t1",
        text_version="en1",
        by="key-1",
    ),
    "notification.cancelled": NotificationCancelled(
        reason=Reason.REJECTED, attempt=2, error="550 5.1.1 unknown user", stage="rcpt", by="key-1"
    ),
    "notification.resend.requested": ResendRequested(
        reason="the user asked",
        not_before=AT,
        expires_at=AT + timedelta(days=1),
        by="key-1",
        idempotency_key="again-1",
    ),
    "notification.feedback.received": FeedbackReceived(
        attempt=2,
        provider="main",
        provider_message_id="SM1",
        status="undelivered",
        standing=Standing.FAILED,
        code="30005",
        error="the number is unknown or in service no more",
    ),
}

SETTINGS: dict[str, SettingsEvent] = {
    "tidings.delivery.paused": DeliveryPaused(channel="email", reason="the provider is down", by="key-1"),
    "tidings.delivery.resumed": DeliveryResumed(channel="email", reason="it is back", by="key-1"),
}

EVERY: dict[str, Event | SettingsEvent] = {**EXAMPLES, **SETTINGS}


def seals(key: bytes = SUBJECT_KEY, key_id: KeyId = KEY_ID) -> Mapping[KeyId, Seal]:
    return {key_id: Seal(key, os.urandom)}


def store(fact: Fact, *, instance: str = "acme", stream: UUID = STREAM, version: int = 1) -> LogEntry:
    """What the mapper would hand to the recorder for one fact of the user 42."""
    envelope = Envelope(
        instance=instance,
        stream=stream,
        version=version,
        subject="user/42",
        fact=fact,
        fingerprint=bytes(range(32)),
    )
    topic, state = LogMapper().to_body(envelope, {(instance, "user/42"): (KEY_ID, seals()[KEY_ID])})
    return LogEntry(stream, version, topic, state, instance)


def row(entry: LogEntry) -> Row:
    """What a reader would find in the log."""
    stream = entry.originator_id
    assert isinstance(stream, UUID)
    return (1, entry.instance_id, stream, entry.originator_version, entry.topic, RECORDED_AT, entry.state)
