"""A worker that is told to stop: what it finishes, what it records, and what it gives back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from event_log.recorder import APPEND_LOCK
from event_log.wakeups import Wakeups
from notification_domain.notification_events import Aftermath, OutcomeUnknown
from tests.story import ORIGIN
from tests.workers.conftest import Office, until
from tests.workers.gates import Gate
from workers.channels.port import Channel
from workers.worker import Route

SHORT = timedelta(milliseconds=200)
LONG_LEASE = timedelta(minutes=10)
"""Whatever others take at once was given back."""


def one_at_once(office: Office, gate: Gate) -> Mapping[str, Route]:
    def wrap(channel: Channel) -> Channel:
        gated = gate.wrap(channel)
        gated.at_once = 1
        return gated

    return office.routes(wrap)


def leases(office: Office) -> list[Any]:
    return [token for (token,) in office.story.rows("due_notifications", "lease_token")]


def ask_for_codes(office: Office, *users: str) -> None:
    for user in users:
        office.story.add_user(user)
        office.story.ask_for_code(user)
    office.story.handle()


@pytest.mark.parity("S5.9")
async def test_what_hangs_in_transmission_is_recorded_as_unknown(office: Office) -> None:
    ask_for_codes(office, "ann")
    await office.web.set_fault("email", "dot", "hang")
    async with office.working(drain=SHORT, lease=LONG_LEASE):
        await until(lambda: "TransmissionStarted" in office.topics())
    doubt = office.last()
    assert isinstance(doubt, OutcomeUnknown)
    assert (doubt.stage, doubt.aftermath) == ("process", Aftermath.RESEND)
    assert doubt.error == "the worker stopped during transmission"
    await office.deliver()
    assert office.topics()[-1] == "NotificationSent"


async def test_an_invitation_that_hangs_in_transmission_waits_for_a_person(office: Office) -> None:
    office.story.add_user()
    office.story.tell("user.human.invite.code.added", code="WELCOME", expiry=3600, trigger_origin=ORIGIN)
    office.story.handle()
    await office.web.set_fault("email", "dot", "hang")
    async with office.working(drain=SHORT, lease=LONG_LEASE):
        await until(lambda: "TransmissionStarted" in office.topics())
    assert office.last().aftermath is Aftermath.PARK


@pytest.mark.parity("S2.9")
async def test_what_waits_for_its_turn_is_given_back_at_once_and_what_has_it_is_finished(
    office: Office,
) -> None:
    ask_for_codes(office, "ann", "bob", "cat")
    gate = Gate()
    async with office.working(one_at_once(office, gate), lease=LONG_LEASE) as worker:
        await gate.reached.wait()
        await until(lambda: len(worker._under_way) == 3)
        asyncio.get_running_loop().call_later(0.2, gate.open.set)
    assert len(await office.messages()) == 1
    assert leases(office) == [None, None]
    await office.deliver()
    assert len(await office.messages()) == 3
    assert [claims for (claims,) in office.story.rows("due_notifications", "claims")] == []


@pytest.mark.parity("S5.9")
async def test_what_was_only_started_is_given_back_when_the_time_is_over(office: Office) -> None:
    ask_for_codes(office, "ann")
    gate = Gate()
    async with office.working(office.routes(gate.wrap), drain=SHORT, lease=LONG_LEASE):
        await gate.reached.wait()
    assert office.topics() == ["NotificationRequested", "AttemptStarted"]
    assert office.story.rows("due_notifications", "lease_token, claims") == [(None, 0)]
    await office.deliver()
    assert len(await office.messages()) == 1


async def test_others_hear_of_what_was_given_back(office: Office) -> None:
    ask_for_codes(office, "ann")
    gate, heard = Gate(), asyncio.Event()
    loop = asyncio.get_running_loop()
    wakeups = Wakeups(office.log.database.conninfo)
    async with office.working(office.routes(gate.wrap), drain=SHORT):
        await gate.reached.wait()
        wakeups.subscribe("due", call=lambda: loop.call_soon_threadsafe(heard.set))
        wakeups.start()
        # Once it listens it wakes everybody: what came before may have been missed.
        await asyncio.wait_for(heard.wait(), 5)
        heard.clear()
    await asyncio.wait_for(heard.wait(), 5)
    await asyncio.to_thread(wakeups.close)


async def test_an_outcome_that_is_known_is_recorded_as_it_is(office: Office, conninfo: str) -> None:
    """It stands in the lane while the time runs out: the lock that others hold is let go a little later."""
    ask_for_codes(office, "ann")
    gate = Gate(after=True)
    with psycopg.connect(conninfo) as other:
        async with office.working(office.routes(gate.wrap), drain=SHORT, lease=LONG_LEASE):
            await gate.reached.wait()
            other.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
            gate.open.set()
            asyncio.get_running_loop().call_later(0.6, other.rollback)
    assert office.topics()[-1] == "NotificationSent"
    assert "OutcomeUnknown" not in office.topics()


async def test_what_asks_for_leave_to_transmit_when_the_time_is_over_is_no_doubt(
    office: Office, conninfo: str
) -> None:
    ask_for_codes(office, "ann")
    gate = Gate()
    with psycopg.connect(conninfo) as other:
        async with office.working(office.routes(gate.wrap), drain=SHORT, lease=LONG_LEASE):
            await gate.reached.wait()
            other.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
            gate.open.set()
            asyncio.get_running_loop().call_later(0.6, other.rollback)
    assert office.topics()[2:] == ["TransmissionStarted", "RetryRequested"]
    assert (office.last().stage, office.last().counts) == ("process", False)
    assert await office.messages() == []


@pytest.mark.parity("S5.a")
async def test_what_was_claimed_but_could_not_be_begun_is_given_back(
    office: Office, conninfo: str, caplog: pytest.LogCaptureFixture
) -> None:
    ask_for_codes(office, "ann")
    with psycopg.connect(conninfo) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
        async with office.working(lease=LONG_LEASE):
            await until(lambda: "no claims" in caplog.text)
            other.rollback()
    assert not any(leases(office))


# --- outcomes that come after the lease -----------------------------------------------------------


async def test_an_outcome_is_recorded_after_the_lease_when_nobody_else_has_come(office: Office) -> None:
    ask_for_codes(office, "ann")
    gate = Gate(after=True)
    async with office.working(office.routes(gate.wrap), poll=60):
        await gate.reached.wait()
        office.lose_leases()
        gate.open.set()
    assert office.topics()[2:] == ["TransmissionStarted", "NotificationSent"]
    await office.deliver()
    assert len(await office.messages()) == 1


@pytest.mark.parity("S5.b", "ALL-5")
async def test_an_outcome_is_refused_after_the_lease_when_somebody_else_has_claimed_it(
    office: Office,
) -> None:
    ask_for_codes(office, "ann")
    gate = Gate(after=True)
    async with office.working(office.routes(gate.wrap), poll=60):
        await gate.reached.wait()
        office.lose_leases()
        assert len(office.claim()) == 1
        gate.open.set()
    # Kept as feedback: it stands for an answer that the other may never get.
    assert office.topics()[-2:] == ["TransmissionStarted", "FeedbackReceived"]
