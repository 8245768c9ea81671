"""Commands against leased notifications: the fence, groups, and commits whose answer was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import psycopg
import pytest
from msgspec.structs import replace

from event_log.recorder import APPEND_LOCK
from notification_domain.backoff import RetryPolicy
from notification_domain.notification import (
    Attempting,
    Cancel,
    RecordOutcome,
    Sent,
    StartAttempt,
    StartTransmission,
    Transmitting,
    Waiting,
)
from notification_domain.notification_events import Reason
from notification_domain.outcomes import Deferred, Delivered, Outcome
from tests.workers.conftest import Office, cut_all_connections, until
from workers.loading import load, reload
from workers.recorder import Recorder
from workers.recording import Advanced, Answer, Refused, Step, Subject, advance


@pytest.fixture
def subject(office: Office) -> Subject:
    """A leased notification of ann's."""
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    (one,) = load(office.log, office.claim())
    return one.subject


def take(office: Office, subject: Subject, *commands: object) -> Answer:
    """Apply commands one by one, each to what the last one left; the last answer."""
    answer: Answer = Advanced(subject.held, ())
    for command in commands:
        assert isinstance(answer, Advanced)
        subject = Subject(answer.held, subject.user, subject.user_version)
        (answer,) = advance(office.log, [Step(subject, command)], office.clock)  # type: ignore[arg-type]  # commands they are
    return answer


def start(office: Office, subject: Subject) -> StartAttempt:
    return StartAttempt(office.clock(), subject.held.token, "sandbox")


def outcome(office: Office, what: Outcome) -> RecordOutcome:
    return RecordOutcome(at=office.clock(), outcome=what, policy=RetryPolicy(), jitter=0.5)


async def test_a_step_is_stored_and_answered_with_what_it_led_to(office: Office, subject: Subject) -> None:
    answer = take(office, subject, start(office, subject), StartTransmission(office.clock()))
    assert isinstance(answer, Advanced)
    assert isinstance(answer.held.state, Transmitting)
    assert answer.held == reload(office.log, subject.held)


async def test_a_lock_that_is_over_by_the_time_of_writing_cancels_nothing(
    office: Office, subject: Subject
) -> None:
    office.story.tell("user.locked")
    cancel = Cancel(Reason.USER_INACTIVE)
    office.story.tell("user.unlocked")
    assert isinstance(take(office, subject, cancel), Refused)
    office.story.tell("user.locked")
    assert isinstance(take(office, subject, cancel), Advanced)
    assert office.last().reason is Reason.USER_INACTIVE


async def test_a_lock_that_is_over_cancels_nothing_though_the_stream_is_frozen(
    office: Office, subject: Subject
) -> None:
    office.story.tell("user.locked")
    cancel = Cancel(Reason.USER_INACTIVE)
    office.story.tell("user.human.phone.code.added", expiry="soon")  # nobody can digest it
    office.story.handle()
    office.story.tell("user.unlocked")
    assert isinstance(take(office, subject, cancel), Refused)
    assert office.topics() == ["NotificationRequested"]


async def test_an_attempt_going_on_keeps_its_row_and_its_lease(office: Office, subject: Subject) -> None:
    before = office.story.rows("due_notifications", "*")
    take(office, subject, start(office, subject), StartTransmission(office.clock()))
    assert office.story.rows("due_notifications", "*") == before


async def test_a_postponed_one_gives_its_lease_back_with_its_new_time(
    office: Office, subject: Subject
) -> None:
    answer = take(office, subject, start(office, subject), outcome(office, Deferred("rcpt", "451 later")))
    assert isinstance(answer, Advanced)
    assert isinstance(answer.held.state, Waiting)
    ((not_before, token, claims),) = office.story.rows("due_notifications", "not_before, lease_token, claims")
    assert (not_before, token, claims) == (answer.held.progress.not_before, None, 0)


async def test_nothing_is_stored_when_the_lease_has_run_out(office: Office, subject: Subject) -> None:
    office.lose_leases()
    assert take(office, subject, start(office, subject)) == Refused("the lease has run out")
    assert office.topics() == ["NotificationRequested"]


async def test_nothing_is_stored_when_another_holds_the_lease(office: Office, subject: Subject) -> None:
    office.lose_leases()
    office.claim()
    assert take(office, subject, start(office, subject)) == Refused("the lease has run out")


async def test_nothing_is_stored_when_the_stream_went_on(office: Office, subject: Subject) -> None:
    take(office, subject, start(office, subject))
    assert take(office, subject, start(office, subject)) == Refused("the stream went on")
    assert office.topics() == ["NotificationRequested", "AttemptStarted"]


async def test_nothing_is_stored_when_the_notification_is_closed(office: Office, subject: Subject) -> None:
    take(office, subject, Cancel(Reason.OPERATOR))
    assert take(office, subject, start(office, subject)) == Refused("the lease has run out")


async def test_a_command_that_no_longer_applies_changes_nothing(office: Office, subject: Subject) -> None:
    answer = take(office, subject, StartTransmission(office.clock()))
    assert answer == Advanced(subject.held, ())
    assert office.topics() == ["NotificationRequested"]


@pytest.mark.parity("S1.12")
async def test_each_member_of_a_group_gets_its_own_answer(office: Office) -> None:
    for user in ("ann", "bob", "cleo"):
        office.story.add_user(user)
        office.story.ask_for_code(user)
    office.story.handle()
    ann, bob, cleo = (one.subject for one in load(office.log, office.claim()))
    take(office, bob, start(office, bob))
    answers = advance(office.log, [Step(one, start(office, one)) for one in (ann, bob, cleo)], office.clock)
    assert [type(answer) for answer in answers] == [Advanced, Refused, Advanced]
    assert isinstance(answers[2], Advanced)
    assert answers[2].held.notification == cleo.held.notification


async def test_what_expires_while_its_worker_waits_for_the_append_lock_is_not_transmitted(
    office: Office, subject: Subject
) -> None:
    started = take(office, subject, start(office, subject))
    assert isinstance(started, Advanced)
    over = started.held.progress.expires_at
    # Drafted in time; when the lock is had, it is not.
    times = iter([over - timedelta(seconds=1), over, over])
    step = Step(Subject(started.held), StartTransmission(office.clock()))
    (answer,) = advance(office.log, [step], lambda: next(times))
    assert isinstance(answer, Advanced)
    assert office.last().reason is Reason.EXPIRED


async def test_an_old_lease_does_not_pass_for_the_new_one_in_its_group(
    office: Office, subject: Subject
) -> None:
    """A worker may hold both, when it has claimed again what it had lost."""
    started = take(office, subject, start(office, subject))
    assert isinstance(started, Advanced)
    new, old = (Subject(replace(started.held, token=started.held.token - lost)) for lost in (0, 1))
    group = [Step(old, outcome(office, Delivered("EM1"))), Step(new, StartTransmission(office.clock()))]
    answers = advance(office.log, group, office.clock)
    assert [type(answer) for answer in answers] == [Refused, Advanced]
    assert office.topics()[-1] == "TransmissionStarted"


async def test_many_write_backs_of_one_stream_take_its_next_versions(office: Office) -> None:
    office.story.add_user()
    for kind in ("email", "phone", "password", "invite"):
        office.story.tell(f"user.human.{kind}.code.added", code="X", expiry=3600)
    office.story.handle()
    subjects = [one.subject for one in load(office.log, office.claim())]
    for command in (start, lambda office, _: StartTransmission(office.clock())):
        answers = advance(office.log, [Step(one, command(office, one)) for one in subjects], office.clock)
        subjects = [Subject(answer.held) for answer in answers if isinstance(answer, Advanced)]
    advance(office.log, [Step(one, outcome(office, Delivered("EM1"))) for one in subjects], office.clock)
    assert sorted(office.story.source_types()[5:]) == [
        "user.human.email.code.sent",
        "user.human.invite.code.sent",
        "user.human.password.code.sent",
        "user.human.phone.code.sent",
    ]
    assert office.story.count("secrets") == 0


# --- the recorder ---------------------------------------------------------------------------------


@asynccontextmanager
async def recording(office: Office) -> AsyncIterator[Recorder]:
    recorder = Recorder(office.log, chance=lambda: 0.0, clock=office.clock)
    try:
        yield recorder
    finally:
        await asyncio.to_thread(recorder.close)


async def test_a_step_whose_commit_succeeded_unheard_is_not_repeated(
    office: Office, subject: Subject
) -> None:
    """The database stored it, the connection broke before it could say so, and the worker tries again."""
    take(office, subject, start(office, subject))
    held = reload(office.log, subject.held)
    step = Step(Subject(held, subject.user), StartTransmission(office.clock()))
    take(office, step.subject, step.command)
    async with recording(office) as recorder:
        answer = await recorder.apply(step)
    assert isinstance(answer, Advanced)
    assert isinstance(answer.held.state, Transmitting)
    assert office.topics() == ["NotificationRequested", "AttemptStarted", "TransmissionStarted"]


async def test_an_outcome_whose_commit_succeeded_unheard_is_no_second_ending(
    office: Office, subject: Subject
) -> None:
    take(office, subject, start(office, subject), StartTransmission(office.clock()))
    step = Step(Subject(reload(office.log, subject.held)), outcome(office, Delivered("EM1")))
    take(office, step.subject, step.command)
    async with recording(office) as recorder:
        assert isinstance(await recorder.apply(step), Refused)
    assert office.topics().count("NotificationSent") == 1
    assert isinstance(office.story.state(office.only()), Sent)


async def test_a_step_stays_refused_when_it_is_anothers_attempt_by_now(
    office: Office, subject: Subject
) -> None:
    take(office, subject, start(office, subject))
    stale = Step(Subject(reload(office.log, subject.held)), StartTransmission(office.clock()))
    office.lose_leases()
    (other,) = load(office.log, office.claim())
    take(office, other.subject, start(office, other.subject))
    async with recording(office) as recorder:
        assert isinstance(await recorder.apply(stale), Refused)
    assert office.topics() == ["NotificationRequested", "AttemptStarted", "AttemptStarted"]


async def test_a_step_waits_when_its_turn_does_not_come_and_is_stored_once(
    office: Office, subject: Subject, conninfo: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with recording(office) as recorder:
        with psycopg.connect(conninfo) as other:
            other.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
            applying = asyncio.create_task(recorder.apply(Step(subject, start(office, subject))))
            await until(lambda: "a result waits" in caplog.text)
        answer = await applying
    assert isinstance(answer, Advanced)
    assert isinstance(answer.held.state, Attempting)
    assert office.topics() == ["NotificationRequested", "AttemptStarted"]


async def test_a_step_is_stored_when_connections_were_cut_before(
    office: Office, subject: Subject, conninfo: str
) -> None:
    cut_all_connections(conninfo)
    async with recording(office) as recorder:
        answer = await recorder.apply(Step(subject, start(office, subject)))
    assert isinstance(answer, Advanced)


async def test_a_delivery_that_is_cut_short_does_not_take_its_step_back(
    office: Office, subject: Subject, conninfo: str
) -> None:
    async with recording(office) as recorder:
        with psycopg.connect(conninfo) as other:
            other.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
            applying = asyncio.create_task(recorder.apply(Step(subject, start(office, subject))))
            await asyncio.sleep(0)
            applying.cancel()
            with pytest.raises(asyncio.CancelledError):
                await applying
    assert office.topics() == ["NotificationRequested", "AttemptStarted"]
