"""An operator's commands while a worker is at it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from event_log.commands import Answer, Done, Hindered, Order, cancel, resend
from event_log.delivery_pauses import EVERYWHERE, pause, resume
from event_log.wakeups import Wakeups
from tests.story import ORIGIN
from tests.workers.conftest import Office, until
from tests.workers.gates import Gate
from workers.worker import Worker


def order(office: Office, notification: UUID | None = None) -> Order:
    return Order(notification or office.only(), "acme", "the user called", "key-1")


@asynccontextmanager
async def woken(office: Office, worker: Worker) -> AsyncIterator[None]:
    """The worker is told of what is due, as its process would tell it."""
    loop = asyncio.get_running_loop()
    wakeups = Wakeups(office.log.database.conninfo)

    def wake() -> None:
        loop.call_soon_threadsafe(worker.wake)

    wakeups.subscribe("due", call=wake)
    wakeups.start()
    yield
    await asyncio.to_thread(wakeups.close)


def cancelled(office: Office) -> Answer:
    return cancel(office.log, order(office))


@pytest.mark.parity("S1.h", "S6.d")
async def test_a_cancellation_before_the_point_of_no_return_keeps_the_message_back(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    gate = Gate()
    async with office.working(office.routes(gate.wrap)):
        await gate.reached.wait()
        answer = await asyncio.to_thread(cancelled, office)
        gate.open.set()
    assert isinstance(answer, Done)
    assert await office.messages() == []
    assert office.topics() == ["NotificationRequested", "AttemptStarted", "NotificationCancelled"]


async def test_a_cancellation_after_it_is_refused_and_the_message_arrives(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    gate = Gate(after=True)
    async with office.working(office.routes(gate.wrap)):
        await gate.reached.wait()
        answer = await asyncio.to_thread(cancelled, office)
        gate.open.set()
    assert isinstance(answer, Hindered)
    assert answer.state == "transmitting"
    assert len(await office.messages()) == 1
    assert office.topics()[-1] == "NotificationSent"


@pytest.mark.parity("S1.h", "S5.d")
async def test_a_resent_notice_arrives_again_as_a_message_of_its_own(office: Office) -> None:
    office.story.add_user()
    office.story.tell("user.human.password.changed", trigger_origin=ORIGIN)
    await office.deliver()
    assert isinstance(resend(office.log, order(office), office.clock(), office.story.deployment), Done)
    await office.deliver()
    ids = [mail["headers"]["Message-ID"] for mail in await office.messages()]
    assert ids == [[f"<{office.only()}.{cycle}@tidings.example>"] for cycle in (1, 2)]
    assert office.topics().count("NotificationSent") == 2


async def test_a_resend_wakes_a_worker_that_seldom_looks(office: Office) -> None:
    office.story.add_user()
    office.story.tell("user.human.password.changed", trigger_origin=ORIGIN)
    await office.deliver()
    async with office.working(poll=3600.0) as worker, woken(office, worker):
        await asyncio.to_thread(resend, office.log, order(office), office.clock(), office.story.deployment)
        await until(lambda: office.topics().count("NotificationSent") == 2)


@pytest.mark.parity("S1.h", "S5.14", "LSE-4")
async def test_what_is_paused_waits_and_is_delivered_when_it_is_resumed(office: Office) -> None:
    pause(office.log, "acme", "email", "the provider is down", "key-1")
    office.story.add_user()
    office.story.ask_for_code()
    office.story.tell("user.human.phone.code.added", code="SMS123", expiry=3600)
    office.story.handle()
    async with office.working() as worker, woken(office, worker):
        await until(lambda: office.story.count("due_notifications") == 1)
        (first,) = await office.messages()
        assert first["channel"] == "sms"
        await asyncio.to_thread(resume, office.log, "acme", "email", "it is back", "key-1")
        await until(lambda: office.story.count("due_notifications") == 0)
    assert len(await office.messages()) == 2


async def test_what_expires_while_paused_is_cancelled_as_expired(office: Office) -> None:
    pause(office.log, EVERYWHERE, "", "the data centre moves", "key-1")
    office.story.add_user()
    office.story.ask_for_code(expiry=60)
    office.story.handle()
    office.clock.move(seconds=61)
    async with office.working():
        await until(lambda: office.story.count("due_notifications") == 0)
    assert (office.last().reason, await office.messages()) == ("expired", [])
