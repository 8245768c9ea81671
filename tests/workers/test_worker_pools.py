"""First attempts and retries in pools of their own, the start, and results that share a commit."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from notification_domain.backoff import RetryPolicy
from notification_domain.notification_events import RetryRequested
from tests.story import ORIGIN
from tests.workers.conftest import POLICY, Office, Watched, notification_of, until
from tests.workers.gates import Gate
from workers.active_instances import ActiveInstances
from workers.channels.port import Channel
from workers.channels.smtp import SmtpChannel
from workers.gathering import Gathering

SENT = "NotificationSent"
ENDS = {"notification.sent", "notification.retry.requested"}
"""Topics of what may become of an attempt."""
BACKFILL = (
    (Path(__file__).parents[2] / "migrations/0013_retries_in_the_due_queue.sql").read_text().split(";")[1]
)


async def _fail_once(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    await office.web.set_fault("email", "rcpt", "refuse", code=450)
    await office.deliver()
    assert isinstance(office.last(), RetryRequested)
    office.clock.move(hours=0.5)


def _retries(office: Office) -> list[bool]:
    return [retry for (retry,) in office.story.rows("due_notifications", "retry")]


async def test_the_queue_tells_a_retry_from_a_first_attempt(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    assert _retries(office) == [False]
    await office.web.set_fault("email", "rcpt", "refuse", code=450)
    await office.deliver()
    assert _retries(office) == [True]


@pytest.mark.parity("S1.8")
async def test_a_process_without_retry_workers_leaves_retries_to_others(office: Office) -> None:
    await _fail_once(office)
    office.story.add_user("bob")
    office.story.ask_for_code("bob")
    office.story.handle()
    routes = Watched(office.routes())
    async with office.working(routes, retry_in_flight=0):
        await until(lambda: _retries(office) == [True])
        seen = routes.looks
        await until(lambda: routes.looks > seen + 3)
        assert _retries(office) == [True]
    async with office.working(in_flight=0):
        await until(lambda: not office.busy())
    assert len(await office.messages()) == 2


@pytest.mark.parity("S1.8")
async def test_a_process_without_workers_leaves_first_attempts_to_others(office: Office) -> None:
    await _fail_once(office)
    office.story.add_user("bob")
    office.story.ask_for_code("bob")
    office.story.handle()
    async with office.working(in_flight=0):
        await until(lambda: _retries(office) == [False])
    assert len(await office.messages()) == 1


async def test_first_attempts_go_out_while_retries_fill_their_pool(office: Office) -> None:
    await _fail_once(office)
    gate = Gate()

    def wrap(channel: Channel) -> Channel:
        return gate.wrap(channel) if isinstance(channel, SmtpChannel) else channel

    async with office.working(office.routes(wrap), retry_in_flight=1):
        await gate.reached.wait()
        text = office.story.tell("user.human.phone.code.added", code="R4F9", expiry=3600)
        office.story.handle()
        texted = notification_of(text.id, "user.human.phone.code.added")
        await until(lambda: office.topics(texted)[-1] == SENT)
        assert not gate.open.is_set()
        gate.open.set()
        await until(lambda: not office.busy())


async def test_a_migrated_queue_tells_retries_apart_as_the_log_does(office: Office, conninfo: str) -> None:
    await _fail_once(office)
    office.story.add_user("bob")
    office.story.ask_for_code("bob")
    office.story.handle()
    before = office.story.rows("due_notifications", "notification_id, retry")
    assert sorted(retry for _, retry in before) == [False, True]
    with psycopg.connect(conninfo) as owner:
        owner.execute("UPDATE due_notifications SET retry = false")
        owner.execute(BACKFILL.encode())
    assert office.story.rows("due_notifications", "notification_id, retry") == before


async def test_a_message_in_doubt_is_sent_again_without_waiting_for_the_poll(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    await office.web.set_fault("email", "dot", "disconnect")
    async with office.working(poll=3600.0, retry_poll=3600.0):
        await until(lambda: office.topics()[-1] == SENT)


async def test_without_a_drain_at_the_start_the_first_look_is_the_first_poll_or_wake_up(
    office: Office,
) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    async with office.working(poll=3600.0, startup_drain=False) as worker:
        await asyncio.sleep(0)
        assert office.topics() == ["NotificationRequested"]
        worker.wake()
        await until(lambda: office.topics()[-1] == SENT)


async def test_a_channel_with_its_own_limit_gives_up_by_it(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.tell("user.human.phone.code.added", code="R4F9", expiry=3600, trigger_origin=ORIGIN)
    await office.web.set_fault("email", "rcpt", "refuse", code=450)
    await office.web.set_fault("sms", "request", "refuse", code=503)
    await office.deliver(policies={"sms": RetryPolicy(max_attempts=1)})
    ends = {one.fact.channel: office.topics(one.id)[-1] for one in office.story.decisions()}
    assert ends == {"email": "RetryRequested", "sms": "NotificationCancelled"}


@pytest.mark.parity("S5.13")
async def test_results_are_recorded_together_when_they_may_gather(office: Office) -> None:
    await office.web.set_fault("email", "dot", "refuse", code=451, to="u3@example.com")
    for number in range(4):
        office.story.add_user(f"u{number}")
        office.story.ask_for_code(f"u{number}")
    office.story.handle()
    async with office.working(result_sync=timedelta(seconds=60), result_buffer=4):
        await until(lambda: not office.busy())
    assert len(await office.messages()) == 3
    commits = [commit for topic, commit in office.story.rows("events", "topic, xmin::text") if topic in ENDS]
    assert len(commits) == 4
    assert len(set(commits)) <= 2, "the first may be on its way before the others join it"


async def test_a_stopping_worker_records_at_once_what_was_gathering(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    async with office.working(result_sync=timedelta(seconds=60)) as worker:
        await until(lambda: worker._recorder._gathering._count == 1)
    assert office.topics()[-1] == SENT


@pytest.mark.parity("S5.13")
async def test_gathering_ends_with_its_time() -> None:
    gathering = Gathering(0.01, 100)
    await asyncio.wait_for(asyncio.gather(*(gathering.join() for _ in range(3))), 5)
    await asyncio.wait_for(gathering.join(), 5)


# --- whose turn it is -----------------------------------------------------------------------------


def _active(office: Office, most: int = 0, lifetime: float = 0.0) -> ActiveInstances:
    return ActiveInstances(most, timedelta(seconds=lifetime), office.clock)


@pytest.mark.parity("S3.a")
def test_the_round_begins_with_those_that_wait_longest(office: Office) -> None:
    assert _active(office).turn(lambda: ["b", "a"]).recent == ("b", "a")


@pytest.mark.parity("S3.3")
def test_who_was_served_goes_behind_the_others(office: Office) -> None:
    active = _active(office)
    active.turn(lambda: ["a", "b", "c"])
    active.note(["a"])
    assert active.turn(lambda: pytest.fail("asked again")).recent == ("b", "c", "a")


@pytest.mark.parity("S3.2", "S3.3", "S3.4")
def test_the_memory_is_bounded_and_expires(office: Office) -> None:
    active = _active(office, most=2, lifetime=60)
    active.turn(list)
    active.note(["a", "b", "c"])
    assert active.turn(list).recent == ("b", "c")
    office.clock.move(seconds=59)
    active.note(["b"])
    office.clock.move(seconds=2)
    assert active.turn(list).recent == ("b",)


@pytest.mark.parity("S1.HandleActiveInstances", "S3.4")
def test_nobody_is_forgotten_when_the_memory_has_neither_bound_nor_lifetime(office: Office) -> None:
    active = _active(office)
    active.turn(list)
    names = tuple(f"i{number:03}" for number in range(500))
    active.note(names)
    office.clock.move(days=400)
    assert active.turn(list).recent == names


@pytest.mark.parametrize("most", [0, 1, 2, 100])
@pytest.mark.parity("S1.10", "S3.b")
async def test_everybody_has_a_turn_however_few_are_remembered(office: Office, most: int) -> None:
    """One instance with a backlog and nine with a little: rounds of three reach each of them."""
    for number in range(10):
        name = f"i{number}"
        office.story.tell("user.human.added", "user/u", instance=name, user_name="u", email="u@example.com")
        for _ in range(6 if number < 4 else 1):
            office.story.tell("user.human.password.changed", "user/u", instance=name, trigger_origin=ORIGIN)
    office.story.handle()
    gate = Gate(after=True)
    gate.open.set()
    async with office.working(claim_batch=3, in_flight=3, max_active_instances=most, policy=POLICY):
        await until(lambda: not office.busy())
    events = office.story.events(ours=True)
    served = [event.instance for event in events if event.topic == "notification.attempt.started"]
    assert set(served[:12]) == {f"i{number}" for number in range(10)}
    assert len(await office.messages(limit="100")) == len(served) == 30


async def test_a_code_finds_a_place_in_front_of_a_pool_full_of_invitations(office: Office) -> None:
    gate = Gate()

    def wrap(channel: Channel) -> Channel:
        return gate.wrap(channel) if isinstance(channel, SmtpChannel) else channel

    for number in range(20):
        office.story.add_user(f"user{number}")
        office.story.tell("user.human.invite.code.added", f"user/user{number}", code="A", expiry=3600)
    office.story.handle()
    async with office.working(office.routes(wrap), in_flight=12, poll=3600.0) as worker:
        await until(lambda: _leased(office) == 10)  # the pool, less the places kept
        text = office.story.tell("user.human.phone.code.added", "user/user0", code="R4F9", expiry=3600)
        office.story.handle()
        worker.wake()
        texted = notification_of(text.id, "user.human.phone.code.added")
        await until(lambda: office.topics(texted)[-1] == SENT)
        assert not gate.open.is_set()
        gate.open.set()
        await until(lambda: not office.busy())


def _leased(office: Office) -> int:
    return sum(1 for (lease,) in office.story.rows("due_notifications", "lease_until") if lease)
