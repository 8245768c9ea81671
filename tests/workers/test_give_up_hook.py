"""Give-ups told to the operator: over real sockets, from a real log, through whatever fails between."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import psycopg
import pytest

from event_log import failpoints
from event_log.database import IDLE_IN_TRANSACTION_SECONDS, Database
from event_log.deployment_key import DeploymentKey
from event_log.log import Log
from notification_domain.notification_events import (
    Event,
    NotificationCancelled,
    Reason,
    ResendRequested,
)
from projections.following import trailing_round
from projections.history import History
from projections.rebuild import REBUILDABLE, rebuild
from tests.conftest import Clock
from tests.projections.histories import (
    ADA,
    AT,
    CODE,
    PARKED,
    REFERENCE,
    REJECTED,
    RETRIED,
    SENT,
    requested,
    stream,
    write,
)
from tests.workers.conftest import cut_all_connections, until
from tests.workers.misbehaving_http import Act, MisbehavingHttp, Request, answer
from tidings.listening import free_port
from workers.channels.address_guard import networks
from workers.give_up_hook import Pauses, reporting
from workers.signed_webhook import Receiver, ReceiverSettings

KEY = bytes(range(1, 33))
LOOPBACK = networks(["127.0.0.0/8"])
TAKEN = answer(204, b"")
HASTE = Pauses(first=0.01, longest=0.05)


@pytest.fixture
def other(conninfo: str, key: DeploymentKey) -> Iterator[Log]:
    """Another process's way to the same log."""
    database = Database(conninfo)
    yield Log(database, key, os.urandom)
    database.close()


@contextlib.asynccontextmanager
async def telling(log: Log, clock: Clock, port: int, limit: float = 2.0) -> AsyncIterator[None]:
    """A worker process that reports to this port."""
    settings = ReceiverSettings(f"http://127.0.0.1:{port}/give-ups", (KEY,), LOOPBACK, limit)
    async with reporting(log, Receiver(settings, clock), clock, pauses=HASTE, poll=0.02):
        yield


@contextlib.asynccontextmanager
async def desk(log: Log, clock: Clock, *acts: Act, limit: float = 2.0) -> AsyncIterator[MisbehavingHttp]:
    """The operator's receiver, and a worker process that reports to it."""
    async with (
        MisbehavingHttp(*acts or (TAKEN,)).serving() as server,
        telling(log, clock, server.port, limit),
    ):
        yield server


def give_up(log: Log, number: int, facts: Sequence[Event] = REJECTED) -> None:
    write(log, number, [requested(number), *facts])


def ids(requests: Sequence[Request]) -> list[str]:
    return [request.headers["webhook-id"] for request in requests]


def body_of(request: Request) -> dict[str, Any]:
    found = json.loads(request.body)
    assert isinstance(found, dict)
    return found


def standing(log: Log) -> tuple[int, int]:
    """Reports taken, and failures in a row."""
    with log.database.connection() as connection:
        row = connection.execute("SELECT reported, failures FROM give_up_hook").fetchone()
    assert row
    return row[0], row[1]


@pytest.mark.parity("S6.9")
async def test_each_give_up_is_told_once_in_order_and_signed(log: Log, clock: Clock) -> None:
    async with desk(log, clock) as server:
        for number in range(1, 6):
            give_up(log, number)
        await until(lambda: standing(log) == (5, 0))
    assert ids(server.requests) == [f"{stream(number)}-3" for number in range(1, 6)]
    for request in server.requests:
        headers = request.headers
        assert request.line == "POST /give-ups HTTP/1.1"
        assert headers["content-type"] == "application/cloudevents+json"
        assert headers["webhook-timestamp"] == str(int(clock().timestamp()))
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request.body
        mark = base64.b64encode(hmac.new(KEY, signed, "sha256").digest()).decode()
        assert headers["webhook-signature"] == f"v1,{mark}"


@pytest.mark.parity("S6.9")
async def test_the_report_says_what_an_operator_looks_for(log: Log, clock: Clock) -> None:
    async with desk(log, clock) as server:
        positions = write(log, 1, [requested(), *RETRIED, *REJECTED], "a customer/1")
        await until(lambda: standing(log) == (1, 0))
    told = body_of(server.requests[0])
    given_up, asked = told.pop("time"), told["data"].pop("requested_at")
    assert given_up[-1] == asked[-1] == "Z"
    assert given_up >= asked
    assert told == {
        "specversion": "1.0",
        "id": f"{stream(1, 'a customer/1')}-5",
        "source": "/instances/a%20customer%2F1",
        "type": "tidings.notification.given_up",
        "subject": f"notification/{stream(1, 'a customer/1')}",
        "datacontenttype": "application/json",
        "data": {
            "notification_id": str(stream(1, "a customer/1")),
            "instance_id": "a customer/1",
            "message_type": "VerifyEmail",
            "channel": "email",
            "reason": "rejected",
            "stage": "rcpt",
            "attempts": 2,
            "position": str(positions[-1]),
        },
    }


async def test_a_parked_notification_is_told_as_that(log: Log, clock: Clock) -> None:
    async with desk(log, clock) as server:
        give_up(log, 1, PARKED)
        await until(lambda: standing(log) == (1, 0))
    told = body_of(server.requests[0])
    assert told["type"] == "tidings.notification.parked"
    assert (told["data"]["reason"], told["data"]["attempts"]) == ("outcome_unknown", 1)


async def test_giving_up_again_after_a_resend_is_another_report(log: Log, clock: Clock) -> None:
    again = ResendRequested(reason="asked for", not_before=AT, expires_at=AT)
    async with desk(log, clock) as server:
        give_up(log, 1, (*REJECTED, again, *REJECTED))
        await until(lambda: standing(log) == (2, 0))
    assert ids(server.requests) == [f"{stream(1)}-3", f"{stream(1)}-6"]
    assert [body_of(request)["data"]["attempts"] for request in server.requests] == [1, 2]


async def test_nothing_is_told_when_nobody_misses_anything(log: Log, clock: Clock) -> None:
    async with desk(log, clock) as server:
        for number, reason in enumerate((Reason.SUPERSEDED, Reason.OPERATOR, Reason.CODE_USED), 1):
            give_up(log, number, [NotificationCancelled(reason=reason)])
        give_up(log, 4, SENT)
        give_up(log, 5, RETRIED)
        give_up(log, 6)
        await until(lambda: standing(log) == (1, 0))
    assert ids(server.requests) == [f"{stream(6)}-3"]


async def test_what_was_given_up_before_the_hook_was_configured_is_not_told(log: Log, clock: Clock) -> None:
    give_up(log, 1)
    async with desk(log, clock) as server:
        give_up(log, 2)
        await until(lambda: standing(log) == (1, 0))
    assert ids(server.requests) == [f"{stream(2)}-3"]


async def test_it_goes_on_where_it_stopped_when_it_is_started_again(log: Log, clock: Clock) -> None:
    async with desk(log, clock):
        give_up(log, 1)
        await until(lambda: standing(log) == (1, 0))
    give_up(log, 2)
    async with desk(log, clock) as server:
        give_up(log, 3)
        await until(lambda: standing(log) == (3, 0))
    assert ids(server.requests) == [f"{stream(2)}-3", f"{stream(3)}-3"]


async def test_it_is_told_when_the_receiver_was_down_for_a_while(log: Log, clock: Clock) -> None:
    port = free_port("127.0.0.1")
    async with telling(log, clock, port):
        give_up(log, 1)
        give_up(log, 2)
        await until(lambda: standing(log)[1] > 2)
        async with MisbehavingHttp(TAKEN).serving(port=port) as server:
            await until(lambda: standing(log) == (2, 0))
    assert ids(server.requests) == [f"{stream(1)}-3", f"{stream(2)}-3"]


REFUSALS: dict[str, Act] = {
    "redirect": answer(308, b"", Location="http://127.0.0.1:1/"),
    "400": answer(400, b""),
    "410": answer(410, b""),
    "500": answer(500, b""),
    "drop": "drop",
    "hang": "hang",
    "garbage": b"\x00\x01\r\n\r\n",
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=list(REFUSALS))
async def test_it_is_told_again_under_the_same_id_until_it_is_taken(
    log: Log, clock: Clock, refusal: Act
) -> None:
    async with desk(log, clock, refusal, limit=0.1) as server:
        give_up(log, 1)
        give_up(log, 2)
        await until(lambda: standing(log)[1] > 1)
        assert standing(log)[0] == 0
        server.acts = [TAKEN]
        await until(lambda: standing(log) == (2, 0))
    first, second = f"{stream(1)}-3", f"{stream(2)}-3"
    assert set(ids(server.requests)[:-1]) == {first}
    assert ids(server.requests)[-1] == second


async def test_it_waits_as_long_as_the_receiver_asks(log: Log, clock: Clock) -> None:
    async with desk(log, clock, answer(503, b"", Retry_After="1")) as server:
        give_up(log, 1)
        await until(lambda: standing(log) == (0, 1))
        began = time.monotonic()
        server.acts = [TAKEN]
        await until(lambda: standing(log) == (1, 0))
        assert time.monotonic() - began > 0.8
    assert len(server.requests) == 2


@pytest.mark.parity("S6.d")
async def test_it_is_told_again_under_the_same_id_when_its_taking_was_not_recorded(
    log: Log, clock: Clock
) -> None:
    failpoints.arm("hook.answered=raise@1")
    try:
        async with desk(log, clock) as server:
            give_up(log, 1)
            await until(lambda: standing(log) == (1, 0))
    finally:
        failpoints.arm("")
    assert ids(server.requests) == [f"{stream(1)}-3"] * 2


async def test_one_reports_when_two_processes_may(log: Log, other: Log, clock: Clock) -> None:
    async with desk(log, clock) as server, telling(other, clock, server.port):
        for number in range(1, 21):
            give_up(log, number)
        await until(lambda: standing(log) == (20, 0))
    assert ids(server.requests) == [f"{stream(number)}-3" for number in range(1, 21)]


async def test_the_other_reports_when_the_first_has_gone(log: Log, other: Log, clock: Clock) -> None:
    async with MisbehavingHttp(TAKEN).serving() as server:
        first = contextlib.AsyncExitStack()
        await first.enter_async_context(telling(log, clock, server.port))
        async with telling(other, clock, server.port):
            give_up(other, 1)
            await until(lambda: standing(other) == (1, 0))
            await first.aclose()
            give_up(other, 2)
            await until(lambda: standing(other) == (2, 0))


@pytest.mark.timeout(30)
async def test_nobody_else_takes_over_while_a_receiver_thinks(log: Log, other: Log, clock: Clock) -> None:
    thought = asyncio.Event()
    async with desk(log, clock, thought, TAKEN, limit=20) as server:
        give_up(log, 1)
        async with telling(other, clock, server.port, limit=20):
            await until(lambda: bool(server.requests))
            enough = time.monotonic() + IDLE_IN_TRANSACTION_SECONDS + 1
            await until(lambda: time.monotonic() > enough)
            thought.set()
            await until(lambda: standing(log) == (1, 0))
    assert ids(server.requests) == [f"{stream(1)}-3"]


async def test_it_goes_on_when_all_connections_were_cut(
    log: Log, clock: Clock, conninfo: str, other: Log
) -> None:
    async with desk(log, clock) as server:
        for number in range(1, 4):
            await asyncio.to_thread(cut_all_connections, conninfo)
            give_up(other, number)
            await until(lambda seen=number: len(set(ids(server.requests))) == seen)  # type: ignore[misc]  # bound now
    assert list(dict.fromkeys(ids(server.requests))) == [f"{stream(number)}-3" for number in range(1, 4)]


async def test_stopping_does_not_wait_for_a_receiver_that_thinks(log: Log, clock: Clock) -> None:
    async with desk(log, clock, "hang", limit=60) as server:
        give_up(log, 1)
        await until(lambda: bool(server.requests))
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert standing(log) == (0, 0)


async def test_no_rebuild_tells_anything_again(
    log: Log, clock: Clock, conninfo: str, key: DeploymentKey
) -> None:
    owning = Log(Database(conninfo, role=""), key, os.urandom)
    async with desk(log, clock) as server:
        give_up(log, 1)
        await until(lambda: standing(log) == (1, 0))
        while trailing_round(log, History()):
            pass
        for name in REBUILDABLE:
            await asyncio.to_thread(rebuild, owning, name)
        give_up(log, 2)
        await until(lambda: standing(log) == (2, 0))
    owning.database.close()
    assert ids(server.requests) == [f"{stream(1)}-3", f"{stream(2)}-3"]


async def test_no_name_address_code_or_key_is_told(
    log: Log, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    bad = NotificationCancelled(
        reason=Reason.REJECTED, attempt=1, error=f"550 <{ADA.last_email}> {ADA.last_phone}", stage="rcpt"
    )
    async with desk(log, clock, answer(500, b"ada.lovelace@example.com")) as server:
        give_up(log, 1, (*RETRIED, bad))
        await until(lambda: standing(log)[1] > 0)
        server.acts = [TAKEN]
        await until(lambda: standing(log) == (1, 0))
    seen = [str(request.headers) + request.body.decode() for request in server.requests]
    for private in (ADA.last_email, ADA.last_phone, "ada", CODE, REFERENCE, "550", KEY.hex()):
        assert not [text for text in [*seen, caplog.text] if private in text]
    assert base64.b64encode(KEY).decode() not in "".join([*seen, caplog.text])


async def test_what_cannot_be_read_any_more_is_told_all_the_same(
    log: Log, clock: Clock, conninfo: str, other: Log
) -> None:
    with psycopg.connect(conninfo, autocommit=True) as owner:
        async with desk(other, clock, "drop") as server:
            give_up(log, 1)
            await until(lambda: standing(log)[1] > 0)
        owner.execute("DELETE FROM subject_keys")
    async with desk(Log(log.database, DeploymentKey(bytes(range(32))), os.urandom), clock) as server:
        await until(lambda: standing(log) == (1, 0))
    told = body_of(server.requests[0])
    assert (told["id"], told["type"]) == (f"{stream(1)}-3", "tidings.notification.unreadable")
    assert (told["data"]["reason"], told["data"]["channel"]) == ("unreadable", "")
