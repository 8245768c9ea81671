from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from tidings.appending import BATCH_EVENTS, Appending, RefusedLine, append_lines
from tidings.errors import Refused, Unreachable
from tidings.rest import Service


class Log:
    """Takes batches as the API does: whole or not at all; events with ``bad`` are at fault."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.requests = 0
        self.answers_first: list[web.Response] = []

    async def append(self, request: web.Request) -> web.Response:
        self.requests += 1
        if self.answers_first:
            return self.answers_first.pop(0)
        batch = await request.json()
        faults = [
            {"pointer": f"/{index}/data/code", "detail": event["bad"]}
            for index, event in enumerate(batch)
            if "bad" in event
        ]
        if faults:
            return problem(422, errors=faults)
        known = {event["id"] for event in self.events}
        self.events += [event for event in batch if event["id"] not in known]
        items = [{"id": event["id"], "position": "1", "duplicate": event["id"] in known} for event in batch]
        return web.json_response({"items": items}, status=201)


def problem(status: int, **more: object) -> web.Response:
    body = {"title": "No", "detail": "no, thank you", **more}
    return web.json_response(body, status=status, headers={"Retry-After": "0"})


@asynccontextmanager
async def serving(log: Log) -> AsyncIterator[Service]:
    application = web.Application()
    application.router.add_post("/v1/events", log.append)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with Service(f"http://127.0.0.1:{runner.addresses[0][1]}", "key", patience=5) as service:
            yield service
    finally:
        await runner.cleanup()


def lines(*events: object) -> list[bytes]:
    return [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]


async def test_all_lines_are_appended_in_batches_when_they_are_good() -> None:
    log = Log()
    told: list[int] = []
    async with serving(log) as service:
        events = [{"id": str(number)} for number in range(BATCH_EVENTS + 5)]
        done = await append_lines(service, lines(*events), lambda batch: told.append(batch[-1].number))
    assert done == Appending(BATCH_EVENTS + 5, 0, [])
    assert log.requests == 2
    assert told == [BATCH_EVENTS, BATCH_EVENTS + 5]


async def test_bad_lines_are_named_and_the_others_appended() -> None:
    log = Log()
    async with serving(log) as service:
        given = lines({"id": "a"}, b"", b"{nonsense", {"id": "b", "bad": "is too long"}, b"[]", {"id": "c"})
        done = await append_lines(service, given)
    assert [event["id"] for event in log.events] == ["a", "c"]
    assert done.appended == 2
    by_line = {refused.line: refused.detail for refused in done.refused}
    assert list(by_line) == [3, 4, 5]
    assert by_line[4] == "data/code is too long"
    assert RefusedLine(5, "is not a JSON object") in done.refused


async def test_duplicates_are_counted_when_a_file_is_appended_again() -> None:
    log = Log()
    async with serving(log) as service:
        await append_lines(service, lines({"id": "a"}))
        done = await append_lines(service, lines({"id": "a"}, {"id": "b"}))
    assert (done.appended, done.duplicates) == (1, 1)


async def test_batch_is_sent_again_when_the_service_asks_for_patience() -> None:
    log = Log()
    log.answers_first = [problem(429), problem(503)]
    async with serving(log) as service:
        done = await append_lines(service, lines({"id": "a"}))
    assert (done.appended, log.requests) == (1, 3)


async def test_refusal_is_raised_when_it_names_no_line() -> None:
    log = Log()
    log.answers_first = [problem(401)]
    async with serving(log) as service:
        with pytest.raises(Refused, match="no, thank you"):
            await append_lines(service, lines({"id": "a"}))


async def test_service_is_unreachable_when_nothing_listens() -> None:
    async with Service("http://127.0.0.1:9", "key", patience=0) as service:
        with pytest.raises(Unreachable, match="does not answer"):
            await append_lines(service, lines({"id": "a"}))
