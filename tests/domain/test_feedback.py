"""What a provider's later word does to a notification, by the state it finds."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from notification_domain.notification import (
    Attempting,
    Cancelled,
    HearFeedback,
    Parked,
    RequestResend,
    Sent,
    StartAttempt,
    Transmitting,
    Waiting,
)
from notification_domain.notification_events import (
    Event,
    FeedbackReceived,
    NotificationCancelled,
    NotificationSent,
    Reason,
)
from tests.domain.examples import (
    ACCEPTED,
    ARRIVED,
    ATTEMPT,
    CANCELLED,
    DEFERRED,
    DELIVERED,
    FAILED,
    LATER,
    PARKED,
    POLICY,
    REJECTED,
    REQUESTED,
    RESENT,
    RETRY,
    SENT,
    TRANSMISSION,
    UNKNOWN,
    outcome,
)
from tests.domain.story import given

GONE = (REQUESTED, ATTEMPT, TRANSMISSION)
SECOND = replace(ATTEMPT, attempt=2)
PROVEN = NotificationSent(
    attempt=1, provider="twilio", provider_message_id="SM1", reply="callback: delivered"
)
REFUSED = NotificationCancelled(
    reason=Reason.REJECTED, attempt=1, error="undelivered 30005 no handset", stage="callback"
)


@pytest.mark.parametrize("doubt", [RESENT, PARKED])
def test_what_arrived_is_sent_and_not_sent_again(doubt: Event) -> None:
    given(*GONE, doubt).when(HearFeedback(ARRIVED)).then(ARRIVED, PROVEN).is_now(Sent)


@pytest.mark.parametrize("doubt", [RESENT, PARKED])
def test_what_a_network_refused_is_rejected_after_the_fact(doubt: Event) -> None:
    given(*GONE, doubt).when(HearFeedback(FAILED)).then(FAILED, REFUSED).is_now(Cancelled)


def test_an_acceptance_is_proof_enough() -> None:
    story = given(*GONE, PARKED).when(HearFeedback(ACCEPTED))
    story.then(ACCEPTED, replace(PROVEN, reply="callback: sent")).is_now(Sent)


def test_a_provider_that_deferred_in_words_and_took_it_in_fact_has_it() -> None:
    given(*GONE, RETRY).when(HearFeedback(ARRIVED)).then(ARRIVED, PROVEN).is_now(Sent)


def test_a_failure_of_what_was_deferred_changes_nothing() -> None:
    given(*GONE, RETRY).when(HearFeedback(FAILED)).then(FAILED).is_now(Waiting)


def test_the_next_attempt_is_given_up_before_it_transmits_when_the_first_arrived() -> None:
    given(*GONE, RESENT, SECOND).when(HearFeedback(ARRIVED)).then(ARRIVED, PROVEN).is_now(Sent)


def test_the_next_attempt_goes_on_when_the_first_failed() -> None:
    given(*GONE, RESENT, SECOND).when(HearFeedback(FAILED)).then(FAILED).is_now(Attempting)


def test_an_attempt_under_way_is_never_given_up_for_a_failure() -> None:
    given(*GONE, RESENT, ATTEMPT).when(HearFeedback(FAILED)).then(FAILED).is_now(Attempting)


@pytest.mark.parametrize("feedback", [ACCEPTED, ARRIVED, FAILED])
def test_a_report_that_overtakes_the_answer_waits_for_it(feedback: FeedbackReceived) -> None:
    story = given(*GONE).when(HearFeedback(feedback)).then(feedback).is_now(Transmitting)
    story.when(outcome(DELIVERED)).then(SENT).is_now(Sent)


@pytest.mark.parametrize("answer", [outcome(UNKNOWN), outcome(DEFERRED), outcome(REJECTED)])
def test_an_earlier_proof_of_arrival_stands_for_a_missing_answer(answer: object) -> None:
    given(*GONE, ARRIVED).when(answer).then(PROVEN)  # type: ignore[arg-type]  # each is a command


def test_an_earlier_proof_of_failure_stands_for_a_missing_answer() -> None:
    given(*GONE, FAILED).when(outcome(UNKNOWN)).then(REFUSED)
    given(*GONE, FAILED).when(outcome(DEFERRED)).is_now(Waiting)


@pytest.mark.parametrize(("feedback", "ending"), [(ARRIVED, PROVEN), (FAILED, REFUSED)])
def test_a_lost_worker_leaves_no_doubt_when_the_provider_has_spoken(
    feedback: FeedbackReceived, ending: Event
) -> None:
    given(*GONE, feedback).when(StartAttempt(LATER, 901, "twilio", POLICY)).then(ending)


def test_arrival_weighs_more_than_a_failure_said_after_it() -> None:
    given(*GONE, ACCEPTED, FAILED).when(outcome(UNKNOWN)).is_now(Sent)


@pytest.mark.parametrize("ending", [SENT, CANCELLED])
@pytest.mark.parametrize("feedback", [ARRIVED, FAILED])
def test_what_has_ended_stays_so(ending: Event, feedback: FeedbackReceived) -> None:
    kind = Sent if ending is SENT else Cancelled
    story = given(*GONE, ending).when(HearFeedback(feedback)).then(feedback).is_now(kind)
    story.when(HearFeedback(feedback)).then()


def test_that_what_was_sent_was_accepted_is_no_news() -> None:
    given(*GONE, SENT).when(HearFeedback(ACCEPTED)).then()


@pytest.mark.parametrize(
    ("first", "second"),
    [(ARRIVED, FAILED), (FAILED, ARRIVED), (FAILED, replace(FAILED, code="30007"))],
)
def test_each_status_and_error_is_heard_in_any_order(
    first: FeedbackReceived, second: FeedbackReceived
) -> None:
    story = given(*GONE, SENT).when(HearFeedback(first)).when(HearFeedback(second)).then(second)
    story.when(HearFeedback(first)).then()


@pytest.mark.parametrize("attempt", [0, 2])
def test_nothing_is_heard_of_an_attempt_there_never_was(attempt: int) -> None:
    given(*GONE, PARKED).when(HearFeedback(replace(ARRIVED, attempt=attempt))).then()


@pytest.mark.parametrize("feedback", [ARRIVED, FAILED])
@pytest.mark.parametrize("doubt", [(), (SECOND,), (SECOND, replace(PARKED, attempt=2))])
def test_an_earlier_cycle_says_nothing_about_this_one(
    feedback: FeedbackReceived, doubt: tuple[Event, ...]
) -> None:
    story = given(*GONE, SENT).when(RequestResend(LATER, "lost phone", LATER))
    after = given(*story.history, *doubt)
    after.when(HearFeedback(feedback)).then(feedback).is_now(type(after.state))


def test_a_doubt_about_the_second_attempt_is_not_resolved_by_a_failure_of_the_first() -> None:
    again = given(*GONE, RESENT, SECOND, replace(TRANSMISSION, attempt=2), replace(PARKED, attempt=2))
    again.when(HearFeedback(FAILED)).then(FAILED).is_now(Parked)
