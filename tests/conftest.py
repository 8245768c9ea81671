"""One embedded PostgreSQL a test process, a database a test from a migrated template."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg.conninfo import make_conninfo

from event_log.database import Database
from event_log.deployment_key import DeploymentKey
from event_log.log import Log
from event_log.migrations import migrate
from tests.leftovers import for_everybody, leftovers_of
from tidings.postgres.use import embedded_postgres

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci" if os.environ.get("CI") else "dev")

MIGRATIONS = Path(__file__).parent.parent / "migrations"
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Set up before, so torn down after, everything else of a test."""
    leftovers = leftovers_of(request)
    yield
    assert leftovers.found() == []


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="tidings-test-") as directory, ExitStack() as held:
        with for_everybody():
            conninfo = held.enter_context(embedded_postgres(Path(directory)))
        yield conninfo


@pytest.fixture(scope="session")
def template(server: str) -> str:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE template_tidings")
    migrate(make_conninfo(server, dbname="template_tidings"), MIGRATIONS)
    return "template_tidings"


@pytest.fixture
def empty_database(server: str) -> Iterator[str]:
    """Conninfo of a database without any table."""
    yield from _fresh(server, "template1")


@pytest.fixture
def conninfo(server: str, template: str) -> Iterator[str]:
    """Conninfo, as the owner, of a fresh migrated database."""
    yield from _fresh(server, template)


def _fresh(server: str, template: str) -> Iterator[str]:
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY wal_log")
        yield make_conninfo(server, dbname=name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(conninfo: str) -> Iterator[Database]:
    opened = Database(conninfo)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def key() -> DeploymentKey:
    return DeploymentKey(bytes(range(32)))


@pytest.fixture
def log(database: Database, key: DeploymentKey) -> Log:
    return Log(database, key, os.urandom)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def chance() -> Callable[[int], bytes]:
    return os.urandom
