"""A valid example of every event and every command, and a history that leads to every state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

from msgspec.structs import replace

from notification_domain.backoff import RetryPolicy
from notification_domain.notification import (
    Attempting,
    Cancel,
    Cancelled,
    Command,
    Declined,
    HearFeedback,
    Initial,
    Open,
    Park,
    Parked,
    Postpone,
    RecordOutcome,
    RequestResend,
    Resolve,
    Sent,
    StartAttempt,
    StartTransmission,
    State,
    Transmitting,
    Waiting,
)
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
from notification_domain.outcomes import Deferred, Delivered, Outcome, Rejected, Unknown
from notification_domain.recipients import User

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
EXPIRY = NOW + timedelta(hours=1)
LATER = NOW + timedelta(minutes=1)
POLICY = RetryPolicy(max_attempts=3, min_delay=5.0, max_delay=60.0, factor=2.0)
LAST_CHANCE = RetryPolicy(max_attempts=1, min_delay=5.0, max_delay=60.0, factor=2.0)

ADA = User(
    user_name="ada",
    first_name="Ada",
    last_name="Lovelace",
    display_name="Ada Lovelace",
    preferred_language="en",
    last_email="ada@acme.example",
    verified_email="ada@acme.example",
    last_phone="+41790000001",
    verified_phone="+41790000001",
    organisation_id="acme",
)
SOURCE = Source("user/42", 7, "https://id.acme.example", "e-1", "user.human.email.code.added")

REQUESTED = NotificationRequested(
    rule="user.human.email.code.added",
    message_type="VerifyEmail",
    channel="email",
    source=SOURCE,
    user_id="42",
    organisation_id="acme",
    arguments={"AuthRequestID": "ar-1"},
    origin="https://id.acme.example",
    secret="secret:48113bdd-0a1a-5177-9d7b-1c0b9fae9926",
    code_expires_at=EXPIRY,
    expires_at=EXPIRY,
    supersede_key="user.human.email.code.added",
    priority=0,
    decided_at=NOW,
    position_seen=12,
)
INVITATION = replace(REQUESTED, rule="user.human.invite.code.added", message_type="InviteUser", priority=2)
NOTICE = replace(
    REQUESTED,
    rule="user.human.password.changed",
    message_type="PasswordChange",
    secret="",
    code_expires_at=None,
    priority=1,
)
TEXT = replace(NOTICE, rule="user.human.phone.code.added", message_type="VerifyPhone", channel="sms")
REQUESTS = (REQUESTED, INVITATION, NOTICE, TEXT)

DECLINED = NotificationDeclined(
    rule="user.human.email.code.added",
    message_type="VerifyEmail",
    channel="email",
    source=SOURCE,
    reason=Reason.CODE_RETURNED,
    user_id="42",
    organisation_id="acme",
    decided_at=NOW,
    position_seen=12,
)
ATTEMPT = AttemptStarted(1, 900, "smtp")
TRANSMISSION = TransmissionStarted(1)
RETRY = RetryRequested(
    attempt=1,
    error="450 try later",
    stage="rcpt",
    recipient=ADA,
    backoff=5.0,
    not_before=NOW + timedelta(seconds=5),
)
RESENT = OutcomeUnknown(
    attempt=1,
    error="connection lost",
    stage="reply",
    aftermath=Aftermath.RESEND,
    not_before=NOW,
    recipient=ADA,
)
PARKED = replace(RESENT, aftermath=Aftermath.PARK)
SENT = NotificationSent(
    attempt=1,
    provider="smtp",
    provider_message_id="queued as 1",
    reply="250 ok",
    template_version="t1",
    text_version="en1",
)
CANCELLED = NotificationCancelled(reason=Reason.REJECTED, attempt=1, error="550 no such user", stage="rcpt")
RESEND = ResendRequested(reason="asked by phone", not_before=LATER, expires_at=LATER + timedelta(hours=1))
ACCEPTED = FeedbackReceived(
    attempt=1, provider="twilio", provider_message_id="SM1", status="sent", standing=Standing.ACCEPTED
)
ARRIVED = replace(ACCEPTED, status="delivered", standing=Standing.DELIVERED)
FAILED = replace(ACCEPTED, status="undelivered", standing=Standing.FAILED, code="30005", error="no handset")

EVENTS: tuple[Event, ...] = (
    REQUESTED, DECLINED, ATTEMPT, TRANSMISSION, RETRY, RESENT, SENT, CANCELLED, RESEND, ARRIVED
)  # fmt: skip

DEFERRED = Deferred("rcpt", "450 try later")
REJECTED = Rejected("rcpt", "550 no such user")
DELIVERED = Delivered("queued as 1", "250 ok")
UNKNOWN = Unknown("reply", "connection lost")


def outcome(
    what: Outcome,
    *,
    at: datetime = NOW,
    policy: RetryPolicy = POLICY,
    jitter: float = 0.0,
    recipient: User | None = ADA,
) -> RecordOutcome:
    return RecordOutcome(
        at=at,
        outcome=what,
        policy=policy,
        jitter=jitter,
        recipient=recipient,
        provider="smtp",
        template_version="t1",
        text_version="en1",
    )


OPEN = Open(REQUESTED)
START = StartAttempt(NOW, 900, "smtp", POLICY)
TRANSMIT = StartTransmission(NOW)
CANCEL = Cancel(Reason.OPERATOR, "sent by post instead")
POSTPONE = Postpone(NOW, "recipient", "no event has told of this user yet", POLICY, 0.0)
PARK = Park(NOW, "20 claims were lost without a word")
ASK_AGAIN = RequestResend(LATER, "asked by phone", LATER + timedelta(hours=1))
RESOLVE = Resolve(NOW, "retry", "the server's log shows nothing")
HEAR = HearFeedback(ARRIVED)

COMMANDS: tuple[Command, ...] = (
    OPEN, START, TRANSMIT, outcome(DELIVERED), CANCEL, POSTPONE, PARK, ASK_AGAIN, RESOLVE, HEAR
)  # fmt: skip
VARIANTS: tuple[Command, ...] = (
    *COMMANDS,
    Open(DECLINED),
    *(Open(request) for request in REQUESTS),
    StartAttempt(EXPIRY, 901, "smtp", POLICY),
    StartAttempt(EXPIRY - timedelta(seconds=30), 901, "smtp", POLICY),
    StartTransmission(NOW, Reason.SUPERSEDED),
    StartTransmission(EXPIRY),
    StartTransmission(NOW, doubt="an event is in quarantine", policy=POLICY),
    *(outcome(what) for what in (DEFERRED, REJECTED, UNKNOWN)),
    *(outcome(what, policy=LAST_CHANCE) for what in (DEFERRED, UNKNOWN)),
    outcome(UNKNOWN, at=EXPIRY),
    outcome(Deferred("auth", "535 no", account_fault=True), policy=LAST_CHANCE),
    Cancel(Reason.SUPERSEDED),
    Resolve(NOW, "sent", "the server's log shows it"),
    Resolve(NOW, "cancelled", "nobody needs it any more"),
    Resolve(NOW, "something else", ""),
    HearFeedback(ACCEPTED),
    HearFeedback(FAILED),
    HearFeedback(replace(FAILED, attempt=2)),
)
"""Every command in all the forms that make a difference somewhere."""

HISTORIES: dict[type[State], tuple[Event, ...]] = {
    Initial: (),
    Waiting: (REQUESTED,),
    Attempting: (REQUESTED, ATTEMPT),
    Transmitting: (REQUESTED, ATTEMPT, TRANSMISSION),
    Parked: (REQUESTED, ATTEMPT, TRANSMISSION, PARKED),
    Sent: (REQUESTED, ATTEMPT, TRANSMISSION, SENT),
    Cancelled: (REQUESTED, ATTEMPT, CANCELLED),
    Declined: (DECLINED,),
}
WITH_FEEDBACK: tuple[tuple[Event, ...], ...] = (
    (REQUESTED, ATTEMPT, TRANSMISSION, ARRIVED),
    (REQUESTED, ATTEMPT, TRANSMISSION, FAILED),
    (REQUESTED, ATTEMPT, TRANSMISSION, RESENT),
    (REQUESTED, ATTEMPT, TRANSMISSION, PARKED, RESEND),
    (REQUESTED, ATTEMPT, TRANSMISSION, PARKED, RESEND, replace(ATTEMPT, attempt=2)),
    (REQUESTED, ATTEMPT, TRANSMISSION, PARKED, RESEND, replace(PARKED, attempt=2)),
    (REQUESTED, ATTEMPT, TRANSMISSION, RESENT, replace(ATTEMPT, attempt=2), replace(SENT, attempt=2)),
)
"""Histories in which a report makes a difference, or makes none although it would elsewhere."""

assert {type(event) for event in EVENTS} == set(get_args(Event))
assert {type(command) for command in COMMANDS} == set(get_args(Command))
assert set(HISTORIES) == set(get_args(State))
