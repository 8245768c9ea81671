"""The API over a real log, spoken to as a client would."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeAlias

import httpx2
import psycopg
import pytest

from api.app import create_app
from api.cloud_events import BATCH, SINGLE
from api.dependencies import ApiDependencies, Limits
from event_log.api_keys import create_key
from event_log.database import Database
from event_log.intake import Intake
from event_log.log import Log
from tests.conftest import Clock

Append: TypeAlias = Callable[..., Any]


@pytest.fixture
def intake(log: Log) -> Iterator[Intake]:
    opened = Intake(log)
    yield opened
    opened.close()


@pytest.fixture
def dependencies(database: Database, log: Log, intake: Intake, clock: Clock) -> ApiDependencies:
    return ApiDependencies(
        database=database,
        log=log,
        intake=intake,
        clock=clock,
        cursor_key=b"c" * 32,
        limits=Limits(min_position=0.2, body=0.5),
    )


@pytest.fixture
def make_key(database: Database, clock: Clock) -> Callable[..., str]:
    def make(*scopes: str, instance: str = "acme") -> str:
        return create_key(database, instance, scopes, "a test", clock(), os.urandom)[1]

    return make


@pytest.fixture
async def client(
    dependencies: ApiDependencies, make_key: Callable[..., str]
) -> AsyncIterator[httpx2.AsyncClient]:
    """Has a key for everything in the instance acme. An error inside the application fails the test."""
    headers = {"Authorization": f"Bearer {make_key('admin')}"}
    transport = httpx2.ASGITransport(app=create_app(dependencies))
    async with httpx2.AsyncClient(transport=transport, base_url="http://tidings", headers=headers) as opened:
        yield opened


@pytest.fixture
def append(client: httpx2.AsyncClient) -> Append:
    """Posts one event, or a list as a batch; a bytes body goes as it is."""

    async def post(body: object, **headers: str) -> httpx2.Response:
        content_type = BATCH if isinstance(body, list) else SINGLE
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await client.post(
            "/v1/events", content=content, headers={"Content-Type": content_type, **headers}
        )

    return post


@pytest.fixture
def stored(conninfo: str) -> Callable[[], int]:
    """How many events, secrets and keys of subjects there are."""

    def count() -> int:
        with psycopg.connect(conninfo) as connection:
            row = connection.execute(
                "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM secrets)"
                " + (SELECT count(*) FROM subject_keys)"
            ).fetchone()
        assert row
        return int(row[0])

    return count
