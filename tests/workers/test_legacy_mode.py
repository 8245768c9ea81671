"""Sequential delivery: one an instance at a time, in the order of the log."""

from __future__ import annotations

import asyncio
from collections import Counter
from uuid import UUID

import pytest

from notification_domain.notification_events import RetryRequested
from tests.story import ORIGIN
from tests.workers.conftest import Office, until
from tests.workers.gates import Gate


def tell_of(office: Office, *users: str, instance: str = "acme") -> None:
    """A code for every other one, so that the order of the log is not that of priorities."""
    for number, user in enumerate(users):
        office.story.tell(
            "user.human.added", f"user/{user}", instance=instance, user_name=user, email=f"{user}@example.com"
        )
        if number % 2:
            office.story.tell(
                "user.human.email.code.added",
                f"user/{user}",
                instance=instance,
                code="K7XQ2M",
                expiry=3600,
                trigger_origin=ORIGIN,
            )
        else:
            office.story.tell(
                "user.human.password.changed", f"user/{user}", instance=instance, trigger_origin=ORIGIN
            )
    office.story.handle()


def attempts(office: Office, instance: str = "acme") -> list[UUID]:
    return [
        event.stream
        for event in office.story.events(ours=True)
        if event.topic == "notification.attempt.started" and event.instance == instance
    ]


def decided(office: Office) -> list[UUID]:
    return [one.id for one in office.story.decisions()]


@pytest.mark.parity("S2.1")
async def test_messages_go_out_in_the_order_of_the_log(office: Office) -> None:
    users = [f"u{number}" for number in range(8)]
    tell_of(office, *users)
    await office.deliver(in_order=True, poll=3600.0)
    assert attempts(office) == decided(office)
    assert [mail["to"] for mail in await office.messages()] == [[f"{user}@example.com"] for user in users]


@pytest.mark.parity("S2.4")
async def test_one_at_a_time_an_instance_and_instances_side_by_side(office: Office) -> None:
    tell_of(office, "a1", "a2", "a3")
    tell_of(office, "b1", "b2", instance="other")
    gate = Gate()
    async with (
        office.working(office.routes(gate.wrap), in_order=True) as one,
        office.working(in_order=True, in_flight=0, retry_in_flight=0),
    ):
        await until(lambda: len(one._under_way) == 2)
        # The head of each is leased: whoever else looks finds nothing.
        assert office.claim_in_order() == []
        assert len(attempts(office)) == len(attempts(office, "other")) == 1
        gate.open.set()
        await until(lambda: not office.busy())
    assert len(await office.messages()) == 5


async def test_two_claims_at_once_take_one_row_an_instance(office: Office) -> None:
    tell_of(office, "a1", "a2", "a3", "a4")
    taken = await asyncio.gather(*(asyncio.to_thread(office.claim_in_order) for _ in range(8)))
    assert sum(len(claims) for claims in taken) == 1


@pytest.mark.parity("S2.5", "S2.a")
async def test_a_deferred_message_steps_aside(office: Office) -> None:
    tell_of(office, "a1", "a2", "a3")
    await office.web.set_fault("email", "rcpt", "refuse", code=450)
    await office.deliver(in_order=True)
    first, *others = decided(office)
    assert isinstance(office.last(first), RetryRequested)
    assert {office.topics(one)[-1] for one in others} == {"NotificationSent"}
    office.clock.move(minutes=10)
    await office.deliver(in_order=True)
    assert office.topics(first)[-1] == "NotificationSent"


@pytest.mark.parity("S2.a")
async def test_what_its_worker_was_lost_with_steps_aside_while_it_is_tried_again(office: Office) -> None:
    tell_of(office, "a1", "a2")
    (lost,) = office.claim_in_order()
    office.lose_leases()
    (again,) = office.claim_in_order()
    assert again.notification == lost.notification
    (behind,) = office.claim_in_order()
    assert behind.notification != lost.notification


async def test_what_cannot_be_delivered_where_nobody_sends_expires_in_passing(office: Office) -> None:
    tell_of(office, "a1", "a2")
    routes = {name: route for name, route in office.routes().items() if name == "sms"}
    office.clock.move(days=4)
    async with office.working(routes, in_order=True):
        await until(lambda: office.story.count("due_notifications") == 0)
    assert {office.topics(one)[-1] for one in decided(office)} == {"NotificationCancelled"}


@pytest.mark.parity("S2.2")
async def test_switching_modes_in_the_middle_loses_and_repeats_nothing(office: Office) -> None:
    for instance in ("acme", "other", "third"):
        tell_of(office, *(f"u{number}" for number in range(12)), instance=instance)
    for in_order in (False, True, False, True):
        gate = Gate(after=True)
        async with office.working(
            office.routes(gate.wrap), in_order=in_order, claim_batch=2, in_flight=3, retry_in_flight=1
        ):
            await gate.reached.wait()
            gate.open.set()
    async with office.working(in_order=True), office.working(claim_batch=1):
        await until(lambda: not office.busy())
    topics = Counter(topic for one in decided(office) for topic in office.topics(one))
    assert topics["NotificationSent"] == topics["TransmissionStarted"] == 36
    assert len(await office.messages(limit="100")) == 36
