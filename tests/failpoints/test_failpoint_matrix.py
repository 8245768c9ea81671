"""Every failpoint, killed at, frozen at past the lease, and failing: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import base64
import signal
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from benchmarks.offspring import Offspring
from event_log.failpoints import NAMES
from projections import give_ups
from tests.failpoints.stage import HOST, Play, Theatre, end, play, theatre, until
from tests.projections.histories import REJECTED, requested, stream, write
from tests.workers.misbehaving_http import MisbehavingHttp, answer
from tidings.listening import free_port

ACTIONS = ("kill", "stop", "raise")
HITS = {"record.before_append": 3, "record.before_commit": 3, "record.after_commit": 3}
"""A delivery writes thrice: the first intent, the second, the outcome."""
AT_ONCE = 9
CHANNELS = {
    "smtp.half_body": ("long email",),
    **{name: ("email",) for name in NAMES if name.startswith("smtp.") and name != "smtp.half_body"},
    **{name: ("sms",) for name in NAMES if name.startswith("twilio.")},
}
NOT_SENT_YET = frozenset(
    {
        *(f"worker.{step}@1" for step in ("claimed", "loaded", "prepared", "started", "sending")),
        *(f"smtp.{step}@1" for step in ("connected", "mail", "rcpt", "data")),
        *(f"record.{step}@1" for step in ("before_append", "before_commit", "after_commit")),
        *(f"record.{step}@2" for step in ("before_append", "before_commit")),
    }
)
"""Up to here the log can tell that nothing went out."""

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(90)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(
    server: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Theatre]:
    async with theatre(server, template, tmp_path_factory.mktemp("theatre")) as made:
        yield made


def worker_names() -> list[str]:
    return sorted(name for name in NAMES if name.split(".")[0] in {"worker", "record", "smtp", "twilio"})


def names_of(room: str) -> list[str]:
    return sorted(name for name in NAMES if name.startswith(f"{room}."))


async def test_every_failpoint_is_part_of_the_matrix() -> None:
    rooms = ("intake", "handler", "projection", "hook")
    assert {*worker_names(), *(name for room in rooms for name in names_of(room))} == NAMES


@pytest.mark.parity("ALL-4")
@pytest.mark.parametrize("name", worker_names())
async def test_a_message_goes_out_and_no_copy_is_a_surprise_when_a_worker_fails(
    house: Theatre, name: str
) -> None:
    await _all_of(
        (f"{wish} ({channel})", _worker_case(house, channel, wish))
        for channel in CHANNELS.get(name, ("email", "sms"))
        for hit in range(1, HITS.get(name, 1) + 1)
        for action in ACTIONS
        for wish in [f"{name}={action}@{hit}"]
    )


@pytest.mark.parametrize("name", names_of("handler"))
async def test_an_event_is_decided_once_when_the_handler_fails(house: Theatre, name: str) -> None:
    await _all_of((wish, _handler_case(house, wish)) for action in ACTIONS for wish in [f"{name}={action}@1"])


@pytest.mark.parametrize("name", names_of("projection"))
async def test_the_history_is_complete_when_its_projection_fails(house: Theatre, name: str) -> None:
    await _all_of((wish, _history_case(house, wish)) for action in ACTIONS for wish in [f"{name}={action}@1"])


@pytest.mark.parametrize("name", names_of("intake"))
async def test_an_event_is_stored_once_when_the_api_fails_and_the_client_repeats(
    house: Theatre, name: str
) -> None:
    await _all_of((wish, _intake_case(house, wish)) for action in ACTIONS for wish in [f"{name}={action}@1"])


@pytest.mark.parametrize("name", names_of("hook"))
async def test_a_give_up_is_told_when_the_worker_that_tells_it_fails(house: Theatre, name: str) -> None:
    await _all_of((wish, _hook_case(house, wish)) for action in ACTIONS for wish in [f"{name}={action}@1"])


# --- cases ------------------------------------------------------------------------------------------


async def _worker_case(house: Theatre, channel: str, wish: str) -> None:
    async with play(house, channel) as case:
        await asyncio.to_thread(case.append)
        await asyncio.to_thread(case.decide)
        await _strike(case, "worker", wish, case.is_over)
        findings = case.findings()
        assert (findings.lost, findings.second_decisions, findings.closed_twice) == (0, 0, 0)
        assert findings.unannounced == 0
        assert findings.unknown <= 1
        point = wish.partition("=")[0] + wish[wish.index("@") :]
        # Frozen inside the intent's commit it may go on before the server ends the transaction: then the
        # intent stands, and the doubt about it is announced like any other.
        if point in NOT_SENT_YET and wish != "record.before_commit=stop@2":
            assert (findings.unknown, case.copies()) == (0, 1)


async def _handler_case(house: Theatre, wish: str) -> None:
    async with play(house) as case:
        await asyncio.to_thread(case.append)
        await _strike(case, "handler", wish, case.is_decided)
        assert case.topics() == ["requested"]


async def _history_case(house: Theatre, wish: str) -> None:
    async with play(house) as case:
        await asyncio.to_thread(case.append)
        await asyncio.to_thread(case.decide)
        await _strike(case, "handler", wish, lambda: _history(case) == [("waiting",)])
        assert _history(case) == [("waiting",)]


def _history(case: Play) -> list[Any]:
    with psycopg.connect(case.conninfo) as connection:
        return connection.execute("SELECT state FROM notifications").fetchall()


async def _intake_case(house: Theatre, wish: str) -> None:
    async with play(house) as case:
        port = free_port(HOST)
        posting = asyncio.create_task(case.post(port, case.make_key()))
        await _strike(case, "api", wish, lambda: case.position > 0, TIDINGS_PORT=str(port))
        await posting
        with psycopg.connect(case.conninfo) as connection:
            stored = connection.execute(
                "SELECT notification_id FROM events WHERE topic = %s", (case.rule,)
            ).fetchall()
        assert stored == [(case.position,)]


async def _hook_case(house: Theatre, wish: str) -> None:
    async with play(house) as case, MisbehavingHttp(answer(204, b"")).serving() as receiver:
        await asyncio.to_thread(give_ups.begin, case.log)
        await asyncio.to_thread(write, case.log, 1, [requested(), *REJECTED])
        given_up = {
            "TIDINGS_GIVE_UP__URL": f"http://{HOST}:{receiver.port}/",
            "TIDINGS_GIVE_UP__SIGNING_KEY": base64.b64encode(bytes(32)).decode(),
            "TIDINGS_GIVE_UP__OWN_NETWORKS": '["127.0.0.0/8"]',
        }
        await _strike(case, "worker", wish, lambda: _reported(case) == 1, **given_up)
        told = [request.headers["webhook-id"] for request in receiver.requests]
        # One that was frozen may wake before anybody has taken over: then one call is enough.
        if wish.startswith("hook.answered") and "stop" not in wish:
            assert len(told) == 2
        assert set(told) == {f"{stream(1)}-3"}
        assert len(told) <= 2
        assert _reported(case) == 1


def _reported(case: Play) -> int:
    with psycopg.connect(case.conninfo) as connection:
        row = connection.execute("SELECT reported FROM give_up_hook").fetchone()
    assert row
    return int(row[0])


# --- blows ------------------------------------------------------------------------------------------


async def _strike(case: Play, role: str, wish: str, over: Any, **environment: str) -> None:
    """Let a process fail as wished and another one take over; both end well in the end."""
    victim = await case.spawn(role, wish, **environment)
    name, action = wish.partition("@")[0].split("=")
    await until(lambda: case.said(f"failpoint {name}: {action}"))
    match action:
        case "kill":
            await victim.ended.wait()
            assert victim.status == -signal.SIGKILL
            await _take_over(case, role, over, **environment)
        case "stop":
            await victim.stopped.wait()
            await _outlive(case, role, over, victim, **environment)
        case _:
            await until(over)
            await end(victim)


async def _take_over(case: Play, role: str, over: Any, **environment: str) -> None:
    second = await case.spawn(role, **environment)
    await until(over)
    await end(second)


async def _outlive(case: Play, role: str, over: Any, frozen: Offspring, **environment: str) -> None:
    """The second process does the work; then the first goes on as if nothing had happened, and ends."""
    if role == "api":
        # It keeps its port, so nobody can take over; but the lock it may hold is taken from it.
        await until(case.nobody_is_inside)
        frozen.thaw()
        await until(over)
    else:
        await _take_over(case, role, over, **environment)
        frozen.thaw()
    await end(frozen)


async def _all_of(cases: Any) -> None:
    """Some at the same time: what they wait for is mostly a lease."""
    places = asyncio.Semaphore(AT_ONCE)
    found = await asyncio.gather(*(_named(case, places) for case in cases), return_exceptions=True)
    failed = [error for error in found if isinstance(error, BaseException)]
    if failed:
        raise BaseExceptionGroup("cases", failed)


async def _named(case: tuple[str, Coroutine[Any, Any, None]], places: asyncio.Semaphore) -> None:
    name, plays = case
    try:
        async with places:
            await plays
    except Exception as error:
        error.add_note(name)
        raise
