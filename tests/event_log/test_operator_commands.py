"""Cancel, resend and resolve against the log itself: what is stored, and who wins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from uuid import UUID

import psycopg
import pytest

from event_log import due_queue
from event_log.commands import Done, Hindered, Hindrance, Order, cancel, resend, resolve
from event_log.log import Log
from notification_domain.backoff import RetryPolicy
from notification_domain.notification import (
    Attempting,
    Cancelled,
    Parked,
    RecordOutcome,
    Sent,
    StartAttempt,
    StartTransmission,
    Transmitting,
    Waiting,
)
from notification_domain.notification_events import (
    NotificationCancelled,
    NotificationSent,
    Reason,
    ResendRequested,
)
from notification_domain.outcomes import Delivered, Unknown
from notification_domain.policies import Deployment
from tests.claims import claim
from tests.conftest import Clock
from tests.story import Story
from tests.swept import swept_database
from workers.loading import load
from workers.recording import Advanced, Refused, Step, Subject, advance

POLICY = RetryPolicy()


@pytest.fixture
def conninfo(server: str, template: str) -> str:
    return swept_database(server, template)


@pytest.fixture
def story(log: Log, clock: Clock) -> Story:
    return Story(log, clock)


class Desk:
    """One notification, a worker's hands and an operator's."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.log = story.log
        self.clock = story.clock
        self.id = UUID(int=0)

    def code(self) -> Desk:
        """A code that waits to be sent."""
        self.story.ask_for_code()
        return self._decided()

    def notice(self) -> Desk:
        """Something without a code."""
        self.story.tell("user.human.password.changed", changed=True)
        return self._decided()

    def _decided(self) -> Desk:
        self.story.handle()
        self.id = self.story.decisions()[-1].id
        return self

    # --- the worker -------------------------------------------------------------------------------

    def claim(self) -> Subject:
        with self.log.database.connection() as connection:
            claims = claim(connection.cursor(), self.clock(), lease=timedelta(minutes=5))
        (subject,) = [one.subject for one in load(self.log, claims) if one.held.notification == self.id]
        return subject

    def attempt(self) -> Subject:
        subject = self.claim()
        return self._step(Step(subject, StartAttempt(self.clock(), subject.held.token, "sandbox")))

    def transmit(self) -> Subject:
        return self._step(Step(self.attempt(), StartTransmission(self.clock())))

    def send(self) -> Desk:
        self._conclude(Delivered("m-1", "250 ok"))
        return self

    def park(self) -> Desk:
        """A second doubt waits for a person."""
        for _ in range(2):
            self._conclude(Unknown("dot", "lost"))
        return self

    def _conclude(self, outcome: Delivered | Unknown) -> None:
        command = RecordOutcome(at=self.clock(), outcome=outcome, policy=POLICY, jitter=0.5)
        self._step(Step(self.transmit(), command))

    def _step(self, step: Step) -> Subject:
        (answer,) = advance(self.log, [step], self.clock)
        assert isinstance(answer, Advanced), answer
        return Subject(answer.held)

    # --- the operator -----------------------------------------------------------------------------

    def order(self, reason: str = "because", key: str = "", instance: str = "acme") -> Order:
        return Order(self.id, instance, reason, "key-1", key)

    def cancel(self, reason: str = "because") -> object:
        return cancel(self.log, self.order(reason))

    def resend(self, reason: str = "because", key: str = "", deployment: Deployment | None = None) -> object:
        order = self.order(reason, key)
        return resend(self.log, order, self.clock(), deployment or self.story.deployment)

    def resolve(self, outcome: str, key: str = "") -> object:
        return resolve(self.log, self.order(key=key), self.clock(), outcome)

    # --- what came of it --------------------------------------------------------------------------

    @property
    def state(self) -> object:
        return self.story.state(self.id)

    @property
    def last(self) -> object:
        return self.story.facts(self.id)[-1]

    def due(self) -> int:
        return self.story.count("due_notifications")

    def head(self) -> int:
        return int(self.story.rows("events", "max(notification_id)")[0][0])


@pytest.fixture
def desk(story: Story) -> Desk:
    story.add_user()
    return Desk(story)


def hindered(answer: object) -> Hindrance:
    assert isinstance(answer, Hindered), answer
    return answer.by


# --- cancel ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("reach", [Desk.claim, Desk.attempt, Desk.park, lambda _: None])
def test_what_has_not_left_is_cancelled_with_the_reason_on_record(
    desk: Desk, reach: Callable[[Desk], object]
) -> None:
    reach(desk.code())
    answer = desk.cancel("the user called")
    assert isinstance(answer, Done)
    assert not answer.repeated
    assert answer.history[-1].fact == desk.last
    assert isinstance(desk.last, NotificationCancelled)
    assert (desk.last.reason, desk.last.error, desk.last.by) == (Reason.OPERATOR, "the user called", "key-1")
    assert (desk.due(), desk.story.count("secrets")) == (0, 0)


def test_cancelling_again_changes_nothing(desk: Desk) -> None:
    desk.code().cancel()
    head = desk.head()
    again = desk.cancel("once more")
    assert isinstance(again, Done)
    assert again.repeated
    assert desk.head() == head


@pytest.mark.parametrize("reach", [Desk.transmit, Desk.send])
def test_what_has_left_is_not_cancelled(desk: Desk, reach: Callable[[Desk], object]) -> None:
    reach(desk.code())
    state, last = desk.state, desk.last
    answer = desk.cancel()
    assert isinstance(answer, Hindered)
    assert answer.by is Hindrance.HANDED_OVER
    assert answer.state == type(state).__name__.lower()
    assert answer.position == desk.story.rows("events", "max(notification_id)")[0][0] - isinstance(
        state, Sent
    )
    assert (desk.state, desk.last) == (state, last)


def test_what_was_declined_is_not_cancelled(desk: Desk) -> None:
    desk.story.ask_for_code(code_returned=True)
    assert hindered(desk._decided().cancel()) is Hindrance.DECLINED


def test_an_attempt_under_way_is_refused_its_point_of_no_return(desk: Desk) -> None:
    subject = desk.code().attempt()
    desk.cancel()
    (answer,) = advance(desk.log, [Step(subject, StartTransmission(desk.clock()))], desk.clock)
    assert isinstance(answer, Refused)
    assert isinstance(desk.state, Cancelled)


def _at_once(*work: Callable[[], object]) -> list[object]:
    """Run together, started as close to each other as threads can be; what each gave."""
    ready = threading.Barrier(len(work))

    def run(one: Callable[[], object]) -> object:
        ready.wait()
        return one()

    with ThreadPoolExecutor(len(work)) as threads:
        return list(threads.map(run, work))


def _begin(desk: Desk, subject: Subject) -> object:
    (answer,) = advance(desk.log, [Step(subject, StartTransmission(desk.clock()))], desk.clock)
    return answer


@pytest.mark.timeout(60)
def test_of_a_cancellation_and_a_point_of_no_return_exactly_one_wins(desk: Desk) -> None:
    for _ in range(80):
        subject = desk.code().attempt()
        worker, operator = _at_once(partial(_begin, desk, subject), desk.cancel)
        assert isinstance(worker, Advanced) != isinstance(operator, Done)
        assert isinstance(desk.state, Transmitting if isinstance(worker, Advanced) else Cancelled)
        if isinstance(operator, Hindered):
            assert operator.by is Hindrance.HANDED_OVER


def test_cancellations_at_once_are_one(desk: Desk) -> None:
    for _ in range(10):
        answers = _at_once(*[desk.code().cancel] * 4)
        assert all(isinstance(answer, Done) for answer in answers)
        assert sum(isinstance(fact, NotificationCancelled) for fact in desk.story.facts(desk.id)) == 1


def test_resends_at_once_begin_one_cycle(desk: Desk) -> None:
    for _ in range(10):
        answers = _at_once(*[desk.notice().send().resend] * 4)
        assert sum(isinstance(answer, Done) for answer in answers) == 1
        assert sum(isinstance(fact, ResendRequested) for fact in desk.story.facts(desk.id)) == 1


# --- resend ---------------------------------------------------------------------------------------


def test_a_notice_that_was_sent_goes_out_again_in_a_new_cycle(desk: Desk) -> None:
    desk.notice().send()
    desk.clock.move(hours=100)
    assert isinstance(desk.resend("never came"), Done)
    assert desk.last == ResendRequested(
        reason="never came",
        not_before=desk.clock(),
        expires_at=desk.clock() + timedelta(hours=72),
        by="key-1",
    )
    assert isinstance(desk.state, Waiting)
    assert desk.due() == 1
    desk.send()
    assert isinstance(desk.state, Sent)
    assert desk.story.source_types().count("user.human.password.change.sent") == 2


def test_what_an_earlier_cycle_wrote_back_does_not_stand_against_the_new_one(desk: Desk) -> None:
    desk.notice().send().resend()
    (loaded,) = load(desk.log, [_claimed(desk)])
    assert loaded.obstacle is None


def _claimed(desk: Desk) -> due_queue.Claim:
    with desk.log.database.connection() as connection:
        (claimed,) = claim(connection.cursor(), desk.clock(), limit=1)
    return claimed


def test_a_new_cycle_lives_no_longer_than_the_policy_says(desk: Desk) -> None:
    desk.notice().cancel()
    desk.resend(deployment=Deployment(max_ttl=timedelta(hours=1)))
    assert isinstance(desk.last, ResendRequested)
    assert desk.last.expires_at == desk.clock() + timedelta(hours=1)


@pytest.mark.parametrize("close", [Desk.send, Desk.cancel])
def test_a_code_that_is_gone_is_not_sent_again(desk: Desk, close: Callable[[Desk], object]) -> None:
    close(desk.code())
    assert hindered(desk.resend()) is Hindrance.CODE_GONE


def _keep_codes(desk: Desk, conninfo: str) -> None:
    """As if another open notification needed the code too."""
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            "INSERT INTO due_notifications SELECT gen_random_uuid(), instance_id, 'none', priority,"
            " '9999-12-31', expires_at, cause_stream, cause_version, supersede_key, '9999-12-31'"
            " FROM due_notifications WHERE notification_id = %s",
            (desk.id,),
        )


def test_a_code_that_is_still_kept_is_sent_again_until_it_expires(desk: Desk, conninfo: str) -> None:
    desk.code()
    _keep_codes(desk, conninfo)
    expires_at = desk.story.request().code_expires_at
    desk.send()
    desk.clock.move(minutes=20)
    assert isinstance(desk.resend(), Done)
    assert isinstance(desk.last, ResendRequested)
    assert desk.last.expires_at == expires_at
    desk.send()
    desk.clock.move(minutes=41)
    assert hindered(desk.resend()) is Hindrance.CODE_GONE


@pytest.mark.parametrize("reach", [Desk.claim, Desk.attempt, Desk.transmit, Desk.park])
def test_what_is_open_is_not_sent_again(desk: Desk, reach: Callable[[Desk], object]) -> None:
    reach(desk.code())
    assert hindered(desk.resend()) is Hindrance.STILL_OPEN


def test_what_was_declined_is_not_sent_again(desk: Desk) -> None:
    desk.story.ask_for_code(code_returned=True)
    assert hindered(desk._decided().resend()) is Hindrance.DECLINED


def test_a_request_of_the_same_name_begins_one_cycle_only(desk: Desk) -> None:
    desk.notice().send().resend(key="again-1")
    desk.send()
    again = desk.resend(key="again-1")
    assert isinstance(again, Done)
    assert again.repeated
    assert isinstance(desk.state, Sent)
    assert hindered(desk.resend("another reason", key="again-1")) is Hindrance.KEY_REUSED
    assert isinstance(desk.resend(key="again-2"), Done)
    assert isinstance(desk.state, Waiting)


# --- resolve --------------------------------------------------------------------------------------


def test_a_doubt_resolved_as_sent_is_written_back(desk: Desk) -> None:
    desk.code().park()
    assert isinstance(desk.resolve("sent"), Done)
    assert isinstance(desk.last, NotificationSent)
    assert (desk.last.reply, desk.last.by) == ("because", "key-1")
    assert desk.story.source_types()[-1] == "user.human.email.code.sent"
    assert (desk.due(), desk.story.count("secrets")) == (0, 0)


def test_a_doubt_resolved_as_cancelled_is_not_written_back(desk: Desk) -> None:
    desk.code().park()
    assert isinstance(desk.resolve("cancelled"), Done)
    assert isinstance(desk.state, Cancelled)
    assert desk.story.source_types()[-1] == "user.human.email.code.added"
    assert (desk.due(), desk.story.count("secrets")) == (0, 0)


def test_a_doubt_resolved_by_another_try_goes_out_with_its_code(desk: Desk) -> None:
    desk.code().park()
    expires_at = desk.story.request().expires_at
    assert isinstance(desk.resolve("retry"), Done)
    assert isinstance(desk.last, ResendRequested)
    assert desk.last.expires_at == expires_at
    assert desk.story.count("secrets") == 1
    desk.send()
    assert isinstance(desk.state, Sent)


def test_a_doubt_is_not_tried_again_when_its_time_or_its_code_is_gone(desk: Desk, conninfo: str) -> None:
    desk.code().park()
    with psycopg.connect(conninfo) as connection:
        connection.execute("DELETE FROM secrets")
    assert hindered(desk.resolve("retry")) is Hindrance.CODE_GONE
    desk.clock.move(hours=2)
    assert hindered(desk.resolve("retry")) is Hindrance.EXPIRED
    assert isinstance(desk.state, Parked)
    assert isinstance(desk.resolve("cancelled"), Done)


@pytest.mark.parametrize("reach", [Desk.claim, Desk.attempt, Desk.transmit, Desk.send, Desk.cancel])
@pytest.mark.parametrize("outcome", ["sent", "retry", "cancelled"])
def test_only_what_is_parked_is_resolved(desk: Desk, reach: Callable[[Desk], object], outcome: str) -> None:
    reach(desk.code())
    head = desk.head()
    assert hindered(desk.resolve(outcome)) is Hindrance.NOT_PARKED
    assert desk.head() == head


# --- what is none of one's business ---------------------------------------------------------------


def test_there_is_nothing_to_command_of_others_or_of_other_streams(desk: Desk) -> None:
    desk.code()
    assert cancel(desk.log, desk.order(instance="other")) is None
    assert cancel(desk.log, Order(UUID(int=5), "acme", "because", "key-1")) is None
    source = desk.story.events(ours=False)[-1].stream
    assert cancel(desk.log, Order(source, "acme", "because", "key-1")) is None
    assert isinstance(desk.state, Waiting)


def test_what_cannot_be_read_is_left_alone(desk: Desk, conninfo: str) -> None:
    desk.code().attempt()
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            "UPDATE events SET topic = 'notification.of.tomorrow' WHERE originator_id = %s"
            " AND originator_version = 2",
            (desk.id,),
        )
    head = desk.head()
    assert hindered(desk.cancel()) is Hindrance.UNREADABLE
    assert desk.head() == head


def test_whoever_waits_is_in_the_state_that_was_claimed(desk: Desk) -> None:
    """A claim alone moves nothing: cancelling wins against it."""
    desk.code().claim()
    assert isinstance(desk.state, Waiting)
    desk.cancel()
    assert isinstance(desk.state, Cancelled)
    assert not isinstance(desk.state, Attempting)
