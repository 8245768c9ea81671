from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psycopg
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

import api
from api.app import create_app
from api.dependencies import ApiDependencies
from event_log.database import Database
from event_log.log import Log
from projections import give_ups
from tests.api.conftest import Append
from tests.api.events import event
from tests.api.test_bad_requests import BAD_BODIES, BAD_QUERIES, MISSING
from tests.conftest import Clock
from tests.projections.histories import REJECTED, requested, write

STATIC = Path(api.__file__ or "").parent / "static"


async def test_it_is_ready_when_the_database_is(client: httpx2.AsyncClient) -> None:
    del client.headers["authorization"]
    for path, status in (("/health/live", "live"), ("/health/ready", "ready")):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": status})


async def test_it_is_alive_but_not_ready_when_a_table_is_missing(
    client: httpx2.AsyncClient, conninfo: str
) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute("DROP TABLE notifications")
    answer = await client.get("/health/ready")
    assert (answer.status_code, answer.json()["missing"]) == (503, ["table notifications"])
    assert (await client.get("/health/live")).status_code == 200


@pytest.fixture
def lost(dependencies: ApiDependencies) -> Iterator[ApiDependencies]:
    """Dependencies whose database nobody can reach."""
    away = Database("host=127.0.0.1 port=1 dbname=none", connect_timeout=0.2)
    yield ApiDependencies(
        database=away,
        log=dependencies.log,
        intake=dependencies.intake,
        clock=dependencies.clock,
        cursor_key=b"c" * 32,
    )
    away.close()


async def test_nothing_answers_500_when_the_database_is_away(lost: ApiDependencies) -> None:
    transport = httpx2.ASGITransport(app=create_app(lost))
    headers = {"Authorization": "Bearer tdg_a_b"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://t", headers=headers) as client:
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()["missing"]) == (503, ["database"])
        listed = await client.get("/v1/notifications")
        assert (listed.status_code, listed.headers["retry-after"]) == (503, "1")
        metrics = await client.get("/metrics")
        assert metrics.status_code == 200
        assert "tidings_database_up 0.0" in metrics.text


async def test_metrics_count_what_was_served_and_how_it_stands(
    client: httpx2.AsyncClient, append: Append, log: Log
) -> None:
    await append(event())
    await append([event(), event(id="2")])
    await client.get("/v1/notifications/00000000-0000-0000-0000-000000000000")
    await client.get("/elsewhere")
    write(log, 1, [requested(1)])
    text = (await client.get("/metrics")).text
    for line in (
        'tidings_http_requests_total{method="POST",route="/v1/events",status="201"} 2.0',
        'tidings_http_requests_total{method="GET",route="/v1/notifications/{id}",status="404"} 1.0',
        'tidings_http_requests_total{method="GET",route="unmatched",status="404"} 1.0',
        'tidings_events_appended_total{duplicate="false"} 2.0',
        'tidings_events_appended_total{duplicate="true"} 1.0',
        "tidings_ingest_batch_events_sum 3.0",
        "tidings_database_up 1.0",
        "tidings_log_position 3.0",
        "tidings_notifications_due 0.0",
    ):
        assert line in text


async def test_metrics_tell_how_far_the_operator_was_told_of_give_ups(
    client: httpx2.AsyncClient, log: Log, clock: Clock
) -> None:
    assert "give_up" not in (await client.get("/metrics")).text
    give_ups.begin(log)
    for number in (1, 2):
        write(log, number, [requested(number), *REJECTED])
    ahead = give_ups.ahead(log)
    give_ups.told(log, ahead)
    for _ in range(2):
        give_ups.failed(log, give_ups.ahead(log), clock())
        clock.move(seconds=20)
    text = (await client.get("/metrics")).text
    for line in (
        "tidings_give_ups_reported_total 1.0",
        "tidings_give_up_hook_behind 3.0",
        "tidings_give_up_hook_failures 2.0",
        "tidings_give_up_hook_failing_seconds 40.0",
    ):
        assert line in text


async def test_the_document_shows_every_route_with_every_status_that_the_tests_meet(
    client: httpx2.AsyncClient, dependencies: ApiDependencies
) -> None:
    document = (await client.get("/openapi.json")).json()
    routes = {getattr(route, "path", "") for route in create_app(dependencies).routes}
    assert set(document["paths"]) == routes - {"/static/{name}"}
    append = set(document["paths"]["/v1/events"]["post"]["responses"])
    assert append == {str(status) for status in (200, 201, 401, 403, 405, 408, 409, 415, 429, 500, 503)} | {
        str(status) for _, status, _ in BAD_BODIES
    }
    found = set(document["paths"]["/v1/notifications"]["get"]["responses"])
    assert found >= {str(status) for _, status, _ in BAD_QUERIES} | {"200", "401", "403", "503"}
    assert {status for _, _, status in MISSING} <= {404, 405, 400}


async def test_every_reference_in_the_document_leads_somewhere(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/openapi.json")
    schemas = answer.json()["components"]["schemas"]
    references = set(re.findall(r'"#/components/schemas/(\w+)"', answer.text))
    assert references <= set(schemas)
    assert {"CloudEvent", "NotificationPage", "NotificationDetail", "Problem"} <= references


async def test_every_kind_of_problem_has_its_page(client: httpx2.AsyncClient) -> None:
    for kind in (await client.get("/openapi.json")).json()["x-problems"]:
        page = await client.get(f"/problems/{kind['name']}")
        assert page.status_code == 200
        assert kind["meaning"] in page.text


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_pages_load_nothing_from_elsewhere(client: httpx2.AsyncClient, path: str) -> None:
    page = await client.get(path)
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for loaded in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert loaded.startswith("/")
        if loaded.startswith("/static/"):
            assert (await client.get(loaded)).status_code == 200
    assert not re.search(r"<script>|style=|onclick", page.text)


async def test_every_static_file_is_served(client: httpx2.AsyncClient) -> None:
    for file in STATIC.iterdir():
        assert (await client.get(f"/static/{file.name}")).content == file.read_bytes()


async def test_what_others_bring_is_mounted_and_its_failures_are_contained(
    dependencies: ApiDependencies, caplog: pytest.LogCaptureFixture
) -> None:
    async def sandbox(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].endswith("/broken"):
            raise RuntimeError("the password is hunter2")
        await PlainTextResponse("sand")(scope, receive, send)

    transport = httpx2.ASGITransport(app=create_app(dependencies, mounts={"/sandbox": sandbox}))
    async with httpx2.AsyncClient(transport=transport, base_url="http://t") as client:
        assert (await client.get("/sandbox/messages")).text == "sand"
        broken = await client.get("/sandbox/broken")
    assert (broken.status_code, broken.json()["type"]) == (500, "/problems/internal-error")
    assert "hunter2" not in broken.text
    assert "hunter2" in caplog.text
