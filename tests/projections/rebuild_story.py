"""A varied past, made by the parts that make it in earnest: intake, handler, workers' steps, history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from event_log.delivery_pauses import pause, resume
from event_log.intake import CallerEvent, append
from event_log.log import Log
from notification_domain.backoff import RetryPolicy
from notification_domain.notification import Cancel, Command, RecordOutcome, StartAttempt, StartTransmission
from notification_domain.notification_events import Reason
from notification_domain.outcomes import Deferred, Delivered, Outcome, Unknown
from notification_domain.policies import Deployment
from projections.following import trailing_round
from projections.handler import handle_batch
from projections.history import History
from projections.recipients import opened
from tests.claims import claim as claim_due
from workers.loading import load
from workers.recording import Advanced, Step, Subject, advance

TABLES = {
    "due": "due_notifications",
    "recipients": "recipients",
    "history": "notifications",
    "pauses": "delivery_pauses",
}
LEASE = timedelta(minutes=5)
POLICY = RetryPolicy()

Clock = Callable[[], datetime]
Owner = psycopg.Connection[Any]


def caller_event(kind: str, subject: str, name: str, /, **data: object) -> CallerEvent:
    return CallerEvent(source="auth", id=f"{subject} {name}", type=kind, subject=subject, data=data)


def person(number: int) -> list[CallerEvent]:
    """A user who asks for a code, with an organisation and a session."""
    user, organisation = f"user/{number}", f"organisation/{number % 3}"
    return [
        caller_event("org.added", organisation, f"of {number}", name=f"Org {number % 3}"),
        caller_event(
            "user.human.added",
            user,
            "added",
            email=f"u{number}@example.com",
            first_name="Ann",
            last_name="Öst",
            organisation_id=f"{number % 3}",
        ),
        caller_event("user.human.email.verified", user, "verified"),
        caller_event("somebody.elses.event", f"cart/{number}", "filled", items=3),
        caller_event("user.human.email.code.added", user, "code", code=f"C{number}", expiry=3600),
    ]


def tell(log: Log, clock: Clock, numbers: Sequence[int], instance: str = "acme") -> None:
    """Append people's events and let the handler and the history follow."""
    assert isinstance(append(log, instance, [event for n in numbers for event in person(n)]), tuple)
    follow(log, clock)


def follow(log: Log, clock: Clock) -> None:
    while handle_batch(log, clock, Deployment(), batch=7):
        pass
    while trailing_round(log, History(), batch=7):
        pass


def claim(log: Log, clock: Clock, limit: int) -> list[Subject]:
    with log.database.connection() as connection:
        claims = claim_due(connection.cursor(), clock(), limit=limit, lease=LEASE)
    return [loaded.subject for loaded in load(log, claims)]


def step(log: Log, clock: Clock, subject: Subject, command: Command) -> Subject:
    (answer,) = advance(log, [Step(subject, command)], clock)
    assert isinstance(answer, Advanced)
    return Subject(answer.held, subject.user, subject.user_version)


def attempt(log: Log, clock: Clock, subject: Subject) -> Subject:
    return step(log, clock, subject, StartAttempt(clock(), subject.held.token, "sandbox"))


def transmit(log: Log, clock: Clock, subject: Subject) -> Subject:
    return step(log, clock, attempt(log, clock, subject), StartTransmission(clock()))


def conclude(log: Log, clock: Clock, subject: Subject, outcome: Outcome) -> Subject:
    return step(
        log,
        clock,
        transmit(log, clock, subject),
        RecordOutcome(at=clock(), outcome=outcome, policy=POLICY, jitter=0.5, recipient=subject.user),
    )


def varied_past(log: Log, clock: Clock) -> dict[str, UUID]:
    """Notifications in every state, by the state's name; the rest is waiting."""
    tell(log, clock, range(20))
    tell(log, clock, range(4), instance="other")
    for instance, channel in (("acme", "webhook"), ("", "webhook"), ("elsewhere", "")):
        pause(log, instance, channel, "maintenance", "key-1")
    resume(log, "acme", "webhook", "all well", "key-1")
    sent, deferred, unknown, doubtful, attempting, transmitting, gone, leased = claim(log, clock, 8)
    conclude(log, clock, sent, Delivered("m-1", "250 ok"))
    conclude(log, clock, deferred, Deferred("rcpt", "451 later"))
    conclude(log, clock, unknown, Unknown("dot", "lost"))
    conclude(log, clock, doubtful, Unknown("dot", "lost"))
    attempt(log, clock, attempting)
    transmit(log, clock, transmitting)
    step(log, clock, gone, Cancel(Reason.OPERATOR))
    (again,) = [one for one in claim(log, clock, 20) if one.held.notification == doubtful.held.notification]
    conclude(log, clock, again, Unknown("dot", "lost again"))
    follow(log, clock)
    named = {
        "sent": sent,
        "deferred": deferred,
        "unknown": unknown,
        "parked": doubtful,
        "attempting": attempting,
        "transmitting": transmitting,
        "cancelled": gone,
        "leased": leased,
    }
    return {name: subject.held.notification for name, subject in named.items()}


def rows(log: Log, owner: Owner, name: str) -> list[Any]:
    """The whole table in order; what is sealed is opened."""
    if name != "recipients":
        return owner.execute(f"SELECT * FROM {TABLES[name]} ORDER BY 1, 2").fetchall()
    stored = owner.execute("SELECT * FROM recipients ORDER BY instance_id, subject").fetchall()
    return opened(log, owner.cursor(), stored)


def left_overs(owner: Owner) -> int:
    row = owner.execute("SELECT count(*) FROM pg_class WHERE relname LIKE '%\\_rebuild%'").fetchone()
    assert row is not None
    return int(row[0])
