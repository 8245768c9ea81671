from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import httpx2
import pytest

from api.app import create_app
from api.cloud_events import SINGLE, read_single
from api.dependencies import ApiDependencies, Limits
from event_log.envelope import SourceEvent
from event_log.errors import LogUnavailable, Overloaded
from event_log.intake import Batch, BatchAnswer, CallerEvent, Intake
from event_log.log import Log, read_stream
from notification_domain.identity import stream_id
from tests.api.conftest import Append
from tests.api.events import CODE, event


async def test_an_event_is_in_the_log_when_it_was_answered(append: Append, log: Log) -> None:
    answer = await append(event(traceparent="00-aa-01", sampled=True, tries=3))
    assert answer.status_code == 201
    (item,) = answer.json()["items"]
    (stored,) = read_stream(log, stream_id("acme", "user/42"))
    assert item == {"id": "1", "position": str(stored.position), "duplicate": False}
    assert isinstance(stored.fact, SourceEvent)
    assert stored.fact.time == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert stored.fact.extensions == {"traceparent": "00-aa-01", "sampled": "true", "tries": "3"}
    assert CODE not in str(stored.fact.data)


async def test_a_repeated_event_is_answered_as_a_duplicate(append: Append) -> None:
    first = await append(event())
    again = await append(event())
    assert (first.status_code, again.status_code) == (201, 200)
    (item,) = again.json()["items"]
    assert item == first.json()["items"][0] | {"duplicate": True}


async def test_a_batch_is_answered_in_its_order_with_duplicates_marked(append: Append) -> None:
    await append(event(id="2"))
    answer = await append([event(id="3"), event(id="2"), event(id="3")])
    assert answer.status_code == 201
    assert [(item["id"], item["duplicate"]) for item in answer.json()["items"]] == [
        ("3", False),
        ("2", True),
        ("3", True),
    ]


async def test_the_same_id_with_another_body_is_refused_whole(
    append: Append, stored: Callable[[], int]
) -> None:
    await append(event())
    before = stored()
    answer = await append([event(id="9"), event(data={"code": "OTHER"})])
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/event-changed"
    assert answer.json()["errors"][0]["pointer"] == "/1/id"
    assert stored() == before


async def test_a_stale_expected_version_is_a_conflict_with_the_current_one(append: Append) -> None:
    assert (await append(event(tidingsexpectedversion=0))).status_code == 201
    answer = await append(event(id="2", tidingsexpectedversion=0))
    problem = answer.json()
    assert (answer.status_code, problem["current_version"], problem["subject"]) == (409, 1, "user/42")
    assert problem["errors"][0]["pointer"] == "/tidingsexpectedversion"
    assert (await append(event(id="2", tidingsexpectedversion=1))).status_code == 201


async def test_named_secrets_are_kept_out_of_the_log(append: Append, log: Log) -> None:
    data = {"pin": "4711", "note": "kept"}
    answer = await append(event(type="shop.pin.issued", data=data, tidingssecret="pin"))
    assert answer.status_code == 201
    (stored,) = read_stream(log, stream_id("acme", "user/42"))
    assert isinstance(stored.fact, SourceEvent)
    assert stored.fact.data["note"] == "kept"
    assert stored.fact.data["pin"].startswith("secret:")


@pytest.mark.parametrize(
    "good",
    [
        event(type="shop.order.placed", subject="order/17", data={"code": {"any": "thing"}}),
        event(type="com.github.pull_request.opened", subject="Repo/a/b", time=..., data=...),
        event(datacontenttype="application/json; charset=UTF-8"),
        event(datacontenttype="application/vnd.example+json"),
        event(time="2026-11-20T12:00:00.123456+02:00", time2=None),
        event(dataschema="https://example.com/schema"),
        event(type="user.email.code.added"),
        event(type="instance.added", subject="instance", data={"name": "Acme"}),
        event(type="org.added", subject="organisation/1", data={"name": "Acme"}),
        event(type="session.otp.email.challenged", subject="session/1"),
        event(data={"code_returned": True}),
        event(data={"generatorId": "g"}),
        event(data={"code": CODE, "expiry": 3_600_000_000_000}),
        event(data={"code": CODE, "urlTmpl": "https://x.example/{{.UserID}}?code={{ .Code }}"}),
        event(data={"code": CODE, "url_template": "{{.Origin}}/verify?code={{.Code}}"}),
        event(type="user.human.added", data={"email": "a@example.com", "encodedHash": "$2a$x"}),
    ],
    ids=range(16),
)
def test_a_good_event_is_understood(good: dict[str, object]) -> None:
    (read,) = read_single(json.dumps(good).encode())
    assert (read.type, read.subject) == (good["type"], good["subject"])


class StubbornIntake(Intake):
    """Answers every batch with one error, at once or later, or not at all."""

    def __init__(self, at_once: Exception | None = None, later: Exception | None = None) -> None:
        self.at_once, self.later = at_once, later

    def prepare(self, instance: str, events: Sequence[CallerEvent]) -> Batch:
        assert (instance, len(events)) == ("acme", 1)
        return Batch(instance, ())

    async def commit(self, batch: Batch) -> BatchAnswer:
        assert batch.instance == "acme"
        if self.at_once:
            raise self.at_once
        future: asyncio.Future[BatchAnswer] = asyncio.get_running_loop().create_future()
        if self.later:
            asyncio.get_running_loop().call_soon(future.set_exception, self.later)
        return await future


@pytest.mark.parametrize(
    ("intake", "status", "kind"),
    [
        (StubbornIntake(at_once=Overloaded("full")), 429, "overloaded"),
        (StubbornIntake(later=LogUnavailable("away")), 503, "log-unavailable"),
        (StubbornIntake(), 503, "log-unavailable"),
        (StubbornIntake(later=RuntimeError("the password is hunter2")), 500, "internal-error"),
    ],
    ids=["overloaded", "away", "too slow", "broken"],
)
async def test_pressure_and_failure_are_told_without_internals(
    dependencies: ApiDependencies, make_key: Callable[..., str], intake: Intake, status: int, kind: str
) -> None:
    app = create_app(replace(dependencies, intake=intake, limits=Limits(commit=0.05)))
    headers = {"Authorization": f"Bearer {make_key('events:append')}", "Content-Type": SINGLE}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://t") as client:
        answer = await client.post("/v1/events", content=json.dumps(event()).encode(), headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{kind}")
    assert ("retry-after" in answer.headers) == (status != 500)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "hunter2" not in answer.text


async def test_a_body_that_never_ends_is_given_up(client: httpx2.AsyncClient) -> None:
    never = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await never.wait()

    answer = await client.post("/v1/events", content=slowly(), headers={"Content-Type": SINGLE})
    assert (answer.status_code, answer.json()["type"]) == (408, "/problems/too-slow")
    assert answer.headers["connection"] == "close"


async def test_an_endless_body_is_refused_at_the_limit(client: httpx2.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 10_000

    answer = await client.post("/v1/events", content=endless(), headers={"Content-Type": SINGLE})
    assert answer.status_code == 413


async def test_a_large_batch_keeps_its_order(append: Append) -> None:
    large = [event(id=str(number), data={"code": CODE, "note": "x" * 3000}) for number in range(1000)]
    answer = await append(large)
    assert answer.status_code == 201
    items = answer.json()["items"]
    assert [item["id"] for item in items] == [str(number) for number in range(1000)]
    positions = [int(item["position"]) for item in items]
    assert positions == sorted(positions)
