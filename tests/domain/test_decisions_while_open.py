"""What decide does in the states before and during an attempt, state by state."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from notification_domain.notification import (
    Attempting,
    Cancel,
    Cancelled,
    Declined,
    Open,
    Parked,
    Sent,
    StartAttempt,
    StartTransmission,
    Transmitting,
    Waiting,
    decide,
    fold,
)
from notification_domain.notification_events import (
    Aftermath,
    AttemptStarted,
    NotificationCancelled,
    OutcomeUnknown,
    Reason,
    RetryRequested,
)
from notification_domain.outcomes import Deferred
from tests.domain.examples import (
    ADA,
    ATTEMPT,
    CANCEL,
    DECLINED,
    DEFERRED,
    DELIVERED,
    EXPIRY,
    LAST_CHANCE,
    NOW,
    OPEN,
    PARK,
    POSTPONE,
    REJECTED,
    REQUESTED,
    RESENT,
    RETRY,
    SENT,
    START,
    TRANSMISSION,
    TRANSMIT,
    UNKNOWN,
    outcome,
)
from tests.domain.story import given

EXPIRED = NotificationCancelled(reason=Reason.EXPIRED, attempt=1)
REFUSED = NotificationCancelled(reason=Reason.REJECTED, attempt=1, error="550 no such user", stage="rcpt")
EXHAUSTED = NotificationCancelled(
    reason=Reason.ATTEMPTS_EXHAUSTED, attempt=1, error="450 try later", stage="rcpt"
)

# --- initial --------------------------------------------------------------------------------------


def test_a_request_begins_the_notification_when_there_is_none() -> None:
    story = given().when(OPEN).then(REQUESTED).is_now(Waiting)
    assert (story.progress.expires_at, story.progress.not_before) == (EXPIRY, NOW)


def test_a_decline_is_the_whole_story_when_the_rule_asks_for_nothing() -> None:
    given().when(Open(DECLINED)).then(DECLINED).is_now(Declined)


# --- waiting --------------------------------------------------------------------------------------


def test_an_attempt_starts_with_the_next_number_when_it_is_due() -> None:
    given(REQUESTED).when(START).then(AttemptStarted(1, 900, "smtp")).is_now(Attempting)
    given(REQUESTED, ATTEMPT, RETRY).when(START).then(AttemptStarted(2, 900, "smtp"))


@pytest.mark.parametrize("late", [timedelta(0), timedelta(days=1)])
def test_it_is_cancelled_without_an_error_when_it_has_expired(late: timedelta) -> None:
    """WRK-1, and WRK-5: its age counts from the request, not from the retry."""
    start = StartAttempt(EXPIRY + late, 900, "smtp")
    given(REQUESTED).when(start).then(NotificationCancelled(reason=Reason.EXPIRED)).is_now(Cancelled)
    given(REQUESTED, ATTEMPT, RETRY).when(start).then(EXPIRED)


def test_a_cancellation_keeps_its_reason_when_it_waits() -> None:
    cancelled = NotificationCancelled(reason=Reason.OPERATOR, error="sent by post instead")
    story = given(REQUESTED).when(CANCEL).then(cancelled)
    assert story.state == Cancelled(story.progress, Reason.OPERATOR)


def test_it_waits_on_without_losing_an_attempt_when_something_is_lacking() -> None:
    waiting = RetryRequested(
        attempt=0,
        error="no event has told of this user yet",
        stage="recipient",
        recipient=None,
        backoff=5.0,
        not_before=NOW + timedelta(seconds=5),
        counts=False,
    )
    story = given(REQUESTED).when(POSTPONE).then(waiting).is_now(Waiting)
    assert (story.progress.spent, story.progress.not_before) == (0, NOW + timedelta(seconds=5))


def test_it_goes_on_waiting_however_often_something_is_lacking() -> None:
    story = given(REQUESTED)
    for _ in range(5):
        story = story.when(replace(POSTPONE, policy=LAST_CHANCE)).is_now(Waiting)


def test_it_is_parked_when_its_claims_keep_getting_lost() -> None:
    parked = OutcomeUnknown(
        attempt=0,
        error="20 claims were lost without a word",
        stage="claim",
        aftermath=Aftermath.PARK,
        not_before=NOW,
    )
    given(REQUESTED).when(PARK).then(parked).is_now(Parked)


# --- attempting -----------------------------------------------------------------------------------


def test_another_attempt_starts_when_the_last_one_never_transmitted() -> None:
    story = given(REQUESTED, ATTEMPT).when(START).then(AttemptStarted(2, 900, "smtp"))
    assert story.progress.spent == 0


def test_a_lost_attempt_is_cancelled_when_it_has_expired_meanwhile() -> None:
    given(REQUESTED, ATTEMPT).when(StartAttempt(EXPIRY, 900, "smtp")).then(EXPIRED)


def test_transmission_starts_when_nothing_stands_against_it() -> None:
    story = given(REQUESTED, ATTEMPT).when(TRANSMIT).then(TRANSMISSION).is_now(Transmitting)
    assert story.progress.spent == 1


@pytest.mark.parametrize("reason", [Reason.SUPERSEDED, Reason.CODE_USED, Reason.USER_INACTIVE])
def test_it_is_cancelled_instead_of_transmitted_when_newer_events_stand_against_it(reason: Reason) -> None:
    cancelled = NotificationCancelled(reason=reason, attempt=1)
    given(REQUESTED, ATTEMPT).when(StartTransmission(NOW, reason)).then(cancelled)


def test_it_is_cancelled_instead_of_transmitted_when_it_expires_that_late() -> None:
    given(REQUESTED, ATTEMPT).when(StartTransmission(EXPIRY)).then(EXPIRED)


def test_transmission_waits_without_spending_an_attempt_when_nobody_knows_what_stands_against_it() -> None:
    doubtful = StartTransmission(NOW, doubt="an event is in quarantine", policy=LAST_CHANCE)
    (event,) = decide(fold([REQUESTED, ATTEMPT]), doubtful)
    assert isinstance(event, RetryRequested)
    assert (event.stage, event.error, event.counts) == ("quarantine", "an event is in quarantine", False)
    assert event.not_before > NOW
    state = fold([REQUESTED, ATTEMPT, event])
    assert isinstance(state, Waiting)
    assert state.progress.spent == 0


def test_a_doubt_yields_to_what_is_known_to_stand_against_it() -> None:
    doubtful = StartTransmission(NOW, Reason.CODE_USED, doubt="an event is in quarantine")
    (event,) = decide(fold([REQUESTED, ATTEMPT]), doubtful)
    assert isinstance(event, NotificationCancelled)
    assert event.reason is Reason.CODE_USED


def test_a_cancellation_wins_when_transmission_has_not_begun() -> None:
    cancelled = NotificationCancelled(reason=Reason.SUPERSEDED, attempt=1)
    given(REQUESTED, ATTEMPT).when(Cancel(Reason.SUPERSEDED)).then(cancelled).when(TRANSMIT).then()


def test_an_attempt_is_spent_when_it_fails_before_transmission() -> None:
    """WRK-4: the whole recipient, the backoff and the error."""
    story = given(REQUESTED, ATTEMPT).when(outcome(DEFERRED)).then(RETRY).is_now(Waiting)
    assert (story.progress.spent, story.progress.recipient) == (1, ADA)


def test_the_next_delay_grows_from_the_last_when_it_fails_again() -> None:
    """WRK-7."""
    story = given(REQUESTED, ATTEMPT, RETRY, ATTEMPT).when(outcome(DEFERRED, jitter=0.5))
    story.then(replace(RETRY, backoff=7.5, not_before=NOW + timedelta(seconds=7.5)))


def test_it_ends_with_the_error_when_the_last_attempt_fails_before_transmission() -> None:
    """WRK-8: counted attempts decide."""
    story = given(REQUESTED, ATTEMPT).when(outcome(DEFERRED, policy=LAST_CHANCE)).then(EXHAUSTED)
    assert story.is_now(Cancelled).progress.spent == 1


def test_it_ends_when_it_is_rejected_before_transmission() -> None:
    story = given(REQUESTED, ATTEMPT).when(outcome(REJECTED)).then(REFUSED).is_now(Cancelled)
    assert (story.progress.spent, story.progress.total_spent) == (1, 1)


def test_no_attempt_is_lost_when_the_account_is_at_fault() -> None:
    fault = Deferred("auth", "535 wrong password", account_fault=True)
    story = given(REQUESTED, ATTEMPT).when(outcome(fault, policy=LAST_CHANCE)).is_now(Waiting)
    assert story.progress.spent == 0


def test_a_channel_is_believed_when_it_forgot_to_announce_its_transmission() -> None:
    given(REQUESTED, ATTEMPT).when(outcome(DELIVERED)).then(SENT)
    given(REQUESTED, ATTEMPT).when(outcome(UNKNOWN)).then(RESENT)


def test_an_attempt_is_postponed_when_something_turns_out_to_be_lacking() -> None:
    story = given(REQUESTED, ATTEMPT).when(POSTPONE).is_now(Waiting)
    assert story.progress.spent == 0


# --- transmitting ---------------------------------------------------------------------------------


def test_it_is_sent_when_the_next_hop_took_responsibility() -> None:
    story = given(REQUESTED, ATTEMPT, TRANSMISSION).when(outcome(DELIVERED)).then(SENT).is_now(Sent)
    assert (story.progress.spent, story.progress.total_spent) == (1, 1)


def test_an_attempt_counts_once_when_it_fails_after_transmission_began() -> None:
    story = given(REQUESTED, ATTEMPT, TRANSMISSION).when(outcome(DEFERRED)).then(RETRY)
    assert story.progress.spent == 1


def test_the_attempt_is_given_back_when_the_account_is_at_fault_after_transmission_began() -> None:
    fault = Deferred("reply", "401 authenticate", account_fault=True)
    story = given(REQUESTED, ATTEMPT, TRANSMISSION).when(outcome(fault, policy=LAST_CHANCE)).is_now(Waiting)
    assert (story.progress.spent, story.progress.total_spent) == (0, 1)


def test_it_ends_when_it_is_rejected_or_its_last_attempt_fails_after_transmission_began() -> None:
    story = given(REQUESTED, ATTEMPT, TRANSMISSION)
    story.when(outcome(REJECTED)).then(REFUSED)
    assert story.when(outcome(DEFERRED, policy=LAST_CHANCE)).then(EXHAUSTED).progress.spent == 1


def test_nothing_cancels_or_postpones_it_when_transmission_has_begun() -> None:
    given(REQUESTED, ATTEMPT, TRANSMISSION).when(CANCEL).then()
    given(REQUESTED, ATTEMPT, TRANSMISSION).when(POSTPONE).then()


@pytest.mark.parametrize(
    ("asked", "waits"), [(None, 5), (1.0, 5), (30.0, 30), (3600.0, 60), (1e300, 60), (float("nan"), 60)]
)
def test_the_provider_says_how_long_to_wait_within_the_cap(asked: float | None, waits: float) -> None:
    deferred = Deferred("reply", "429 slow down", retry_after=asked)
    story = given(REQUESTED, ATTEMPT, TRANSMISSION).when(outcome(deferred))
    assert story.progress.not_before == NOW + timedelta(seconds=waits)
    assert story.progress.backoff == 5.0


def test_the_next_try_is_when_it_expires_when_the_delay_would_pass_that() -> None:
    soon = replace(REQUESTED, expires_at=NOW + timedelta(seconds=2))
    story = given(soon, ATTEMPT, TRANSMISSION).when(outcome(DEFERRED)).is_now(Waiting)
    assert story.progress.not_before == soon.expires_at
