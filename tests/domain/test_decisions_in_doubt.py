"""What decide does when an outcome is unknown, when a person decides, and when all is over."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from notification_domain.notification import (
    Cancel,
    Cancelled,
    Command,
    Parked,
    Resolve,
    Sent,
    Waiting,
    is_closed,
)
from notification_domain.notification_events import (
    Aftermath,
    AttemptStarted,
    Event,
    NotificationCancelled,
    NotificationRequested,
    NotificationSent,
    Reason,
    ResendRequested,
)
from notification_domain.outcomes import Unknown
from notification_domain.recipients import User
from tests.domain.examples import (
    ASK_AGAIN,
    ATTEMPT,
    CANCELLED,
    DECLINED,
    DEFERRED,
    EXPIRY,
    HISTORIES,
    INVITATION,
    LAST_CHANCE,
    NOTICE,
    NOW,
    PARK,
    PARKED,
    REQUESTED,
    RESEND,
    RESENT,
    RETRY,
    SENT,
    START,
    TEXT,
    TRANSMISSION,
    UNKNOWN,
    outcome,
)
from tests.domain.story import given

IN_DOUBT = (REQUESTED, ATTEMPT, TRANSMISSION, PARKED)
LOST = replace(RESENT, error="the worker was lost during transmission", stage="process", recipient=None)

# --- an unknown outcome ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "at", "aftermath"),
    [
        (REQUESTED, NOW, Aftermath.RESEND),
        (REQUESTED, EXPIRY - timedelta(seconds=61), Aftermath.RESEND),
        (REQUESTED, EXPIRY - timedelta(seconds=60), Aftermath.EXPIRE),
        (replace(REQUESTED, secret="", otp=True, code_expires_at=None), NOW, Aftermath.RESEND),
        (replace(REQUESTED, channel="sms"), NOW, Aftermath.RESEND),
        (NOTICE, NOW, Aftermath.RESEND),
        (INVITATION, NOW, Aftermath.PARK),
        (TEXT, NOW, Aftermath.PARK),
    ],
)
def test_an_unknown_outcome_is_dealt_with_by_kind_of_message(
    request_: NotificationRequested, at: datetime, aftermath: Aftermath
) -> None:
    expired = NotificationCancelled(reason=Reason.EXPIRED, attempt=1)
    end = (expired,) if aftermath is Aftermath.EXPIRE else ()
    story = given(request_, ATTEMPT, TRANSMISSION).when(outcome(UNKNOWN, at=at))
    story.then(replace(RESENT, aftermath=aftermath, not_before=at), *end)


def test_the_doubt_is_announced_before_anything_else_when_the_worker_was_lost() -> None:
    story = given(REQUESTED, ATTEMPT, TRANSMISSION).when(START).then(LOST).is_now(Waiting)
    story.when(START).then(replace(ATTEMPT, attempt=2))
    assert story.progress.unknowns == 1


def test_it_is_parked_when_a_second_outcome_is_unknown() -> None:
    again = replace(ATTEMPT, attempt=2)
    story = given(REQUESTED, ATTEMPT, TRANSMISSION, RESENT, again, TRANSMISSION).when(outcome(UNKNOWN))
    story.then(replace(PARKED, attempt=2)).is_now(Parked)


def test_it_is_parked_when_the_unknown_outcome_was_of_its_last_attempt() -> None:
    story = given(REQUESTED, ATTEMPT, TRANSMISSION)
    story.when(outcome(UNKNOWN, policy=LAST_CHANCE)).then(PARKED)
    story.when(replace(START, policy=LAST_CHANCE)).then(replace(LOST, aftermath=Aftermath.PARK))


def test_it_is_parked_when_its_claims_keep_getting_lost_in_transmission() -> None:
    given(REQUESTED, ATTEMPT, TRANSMISSION).when(PARK).is_now(Parked)


def test_the_first_snapshot_of_the_recipient_stays_when_later_attempts_see_another() -> None:
    moved = User(last_email="new@acme.example")
    again = (replace(ATTEMPT, attempt=2), replace(TRANSMISSION, attempt=2))
    for what in (DEFERRED, Unknown("reply", "connection lost")):
        story = given(REQUESTED, ATTEMPT, RETRY, *again).when(outcome(what, recipient=moved))
        assert story.progress.recipient == RETRY.recipient


# --- parked ---------------------------------------------------------------------------------------


def test_a_parked_notification_is_open() -> None:
    assert not is_closed(given(*IN_DOUBT).state)


def test_it_is_sent_when_a_person_says_so() -> None:
    sent = NotificationSent(attempt=1, provider="smtp", reply="found in the server's log")
    given(*IN_DOUBT).when(Resolve(NOW, "sent", "found in the server's log")).then(sent).is_now(Sent)


def test_it_is_tried_again_within_its_old_expiry_when_a_person_says_so() -> None:
    again = ResendRequested(reason="not in the server's log", not_before=NOW, expires_at=EXPIRY)
    story = given(*IN_DOUBT).when(Resolve(NOW, "retry", "not in the server's log")).then(again)
    progress = story.is_now(Waiting).progress
    assert (progress.cycle, progress.spent, progress.unknowns, progress.expires_at) == (2, 0, 0, EXPIRY)


def test_it_is_cancelled_when_a_person_gives_it_up() -> None:
    cancelled = NotificationCancelled(reason=Reason.OPERATOR, attempt=1, error="no longer needed")
    given(*IN_DOUBT).when(Resolve(NOW, "cancelled", "no longer needed")).then(cancelled).is_now(Cancelled)
    given(*IN_DOUBT).when(Cancel(Reason.OPERATOR, "no longer needed")).then(cancelled)


def test_it_stays_parked_when_something_other_than_a_person_would_end_it() -> None:
    given(*IN_DOUBT).when(Cancel(Reason.SUPERSEDED)).then().is_now(Parked)
    given(*IN_DOUBT).when(Resolve(NOW, "perhaps", "")).then()


@pytest.mark.parametrize(
    ("command", "event"),
    [
        (Resolve(NOW, "sent", "seen", by="k-1"), {"by": "k-1"}),
        (
            Resolve(NOW, "retry", "unseen", by="k-1", idempotency_key="i-1"),
            {"by": "k-1", "idempotency_key": "i-1"},
        ),
        (Resolve(NOW, "cancelled", "late", by="k-1"), {"by": "k-1"}),
        (Cancel(Reason.OPERATOR, "late", by="k-1"), {"by": "k-1"}),
    ],
    ids=["sent", "retry", "cancelled", "cancel"],
)
def test_it_is_written_down_who_resolved_it(command: Command, event: dict[str, str]) -> None:
    (written,) = given(*IN_DOUBT).when(command).latest
    assert {name: getattr(written, name) for name in event} == event


# --- closed ---------------------------------------------------------------------------------------


@pytest.mark.parity("S6.8")
@pytest.mark.parametrize("ending", [SENT, CANCELLED])
def test_a_new_cycle_begins_when_an_operator_asks_again(ending: Event) -> None:
    story = given(REQUESTED, ATTEMPT, TRANSMISSION, ending).when(ASK_AGAIN).then(RESEND).is_now(Waiting)
    progress = story.progress
    assert (progress.cycle, progress.spent, progress.total_spent) == (2, 0, 1)
    assert (progress.expires_at, progress.not_before) == (RESEND.expires_at, RESEND.not_before)
    story.when(START).then(AttemptStarted(2, 900, "smtp"))


def test_the_first_delay_is_the_shortest_again_when_a_new_cycle_begins() -> None:
    slow = replace(RETRY, backoff=60.0)
    story = given(REQUESTED, ATTEMPT, slow, ATTEMPT, CANCELLED, RESEND, replace(ATTEMPT, attempt=2))
    assert story.when(outcome(DEFERRED)).progress.backoff == 5.0


def test_nothing_begins_again_when_it_was_declined() -> None:
    given(DECLINED).when(ASK_AGAIN).then()


@pytest.mark.parametrize("ending", [SENT, CANCELLED])
def test_an_ending_stands_when_any_event_but_a_resend_follows(ending: Event) -> None:
    ended = given(REQUESTED, ATTEMPT, TRANSMISSION, ending)
    for history in HISTORIES.values():
        assert given(*ended.history, *history[:4]).state == ended.state


def test_events_that_belong_to_no_request_are_passed_over() -> None:
    assert given(ATTEMPT, SENT, RESEND, REQUESTED).state == given(REQUESTED).state
    assert given(DECLINED, REQUESTED, ATTEMPT).state == given(DECLINED).state
    assert given(REQUESTED, REQUESTED, DECLINED).state == given(REQUESTED).state
