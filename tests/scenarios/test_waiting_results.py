"""Results that wait to be written: how many may, what that holds up, and what a stop makes of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from event_log.recorder import APPEND_LOCK
from event_log.wakeups import Wakeups
from tests.workers.conftest import Office, until
from tests.workers.gates import Gate
from workers.stages import Stage
from workers.worker import Worker

SENT = "NotificationSent"
LONG = timedelta(minutes=10)


def ask_for_codes(office: Office, count: int) -> None:
    for number in range(count):
        office.story.add_user(f"u{number}")
        office.story.ask_for_code(f"u{number}")
    office.story.handle()


def ends(office: Office) -> Counter[str]:
    """How many notifications stand where."""
    return Counter(office.topics(one.id)[-1] for one in office.story.decisions())


def answered(worker: Worker) -> int:
    """How many results wait to be written."""
    return sum(stage is Stage.ANSWERED for _, stage in worker.under_way())


def leased(office: Office) -> int:
    return sum(token is not None for (token,) in office.story.rows("due_notifications", "lease_token"))


@pytest.mark.parity("S5.8", "S5.13", "S5.c", "STP-1")
async def test_a_stop_writes_exactly_what_was_waiting_to_be_written(office: Office) -> None:
    await office.web.set_fault("email", "dot", "refuse", code=451, to="u1@example.com")
    ask_for_codes(office, 2)
    async with office.working(result_sync=LONG, lease=LONG) as worker:
        await until(lambda: answered(worker) == 2)
        office.story.add_user("ann")
        office.story.ask_for_code("ann")
        office.story.handle()
        await until(lambda: answered(worker) == 3)
        # The third one's intent was written behind the first two results, if these had not waited.
        assert ends(office) == {"TransmissionStarted": 3}
    assert ends(office) == {SENT: 2, "RetryRequested": 1}


@pytest.mark.parity("S5.8", "STP-2")
async def test_results_that_wait_hold_up_the_claims_and_a_stop_writes_them_all(
    office: Office, conninfo: str
) -> None:
    ask_for_codes(office, 30)
    gate = Gate(after=True)
    settings: dict[str, Any] = {"result_buffer": 2, "claim_batch": 10, "in_flight": 10, "lease": LONG}
    with psycopg.connect(conninfo) as other:
        async with office.working(office.routes(gate.wrap), **settings) as worker:
            await until(lambda: ends(office)["TransmissionStarted"] == 10)
            other.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
            gate.open.set()
            await until(lambda: answered(worker) == 10)
            assert ends(office)[SENT] == 0
            assert leased(office) == 10, "nothing more is taken while results wait"
            asyncio.get_running_loop().call_later(0.2, other.rollback)
    assert ends(office) == {SENT: 10, "NotificationRequested": 20}


@pytest.mark.parity("S5.11", "S6.d")
async def test_a_notification_goes_out_when_it_is_asked_for_and_not_at_the_next_look(office: Office) -> None:
    loop = asyncio.get_running_loop()
    wakeups = Wakeups(office.log.database.conninfo)
    listening = asyncio.Event()
    async with office.working(poll=3600.0, retry_poll=3600.0) as worker:

        def wake() -> None:
            loop.call_soon_threadsafe(worker.wake)
            loop.call_soon_threadsafe(listening.set)

        wakeups.subscribe("due", call=wake)
        wakeups.start()
        await asyncio.wait_for(listening.wait(), 5)
        await asyncio.to_thread(ask_for_codes, office, 3)
        await until(lambda: ends(office) == {SENT: 3}, within=5)
    await asyncio.to_thread(wakeups.close)
