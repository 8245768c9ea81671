"""The library's own cases for recorders, over ours; the recorder may only append and read."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import eventsourcing.cryptography
import psycopg
import pytest
from eventsourcing.persistence import StoredEvent

from event_log.database import Database
from event_log.errors import DatabaseUnusable
from event_log.recorder import LogRecorder
from tests.swept import swept_database

# The cases import the library's cipher over pycryptodome, which nothing of ours needs; it has a twin.
sys.modules.setdefault("eventsourcing.cipher", eventsourcing.cryptography)
from eventsourcing.tests import persistence as cases  # noqa: E402  # after its cipher was provided


@pytest.fixture
def conninfo(server: str, template: str) -> str:
    return swept_database(server, template)


class _OnAFreshDatabase:
    database: Database

    @pytest.fixture(autouse=True)
    def _fresh(self, conninfo: str) -> Iterator[None]:
        self.database = Database(conninfo, max_size=12)
        self.database.open()
        yield
        self.database.close()

    def create_recorder(self) -> LogRecorder:
        return LogRecorder(self.database.datastore)


class _AsAggregateRecorder(LogRecorder):
    """Keeps positions to itself, as a recorder of aggregates does."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> None:
        super().insert_events(stored_events, **kwargs)


class TestAggregates(_OnAFreshDatabase, cases.AggregateRecorderTestCase):
    def create_recorder(self) -> LogRecorder:
        return _AsAggregateRecorder(self.database.datastore)


@pytest.mark.timeout(60)
class TestApplications(_OnAFreshDatabase, cases.ApplicationRecorderTestCase[LogRecorder]):
    def test_subscription(self) -> None:
        self.optional_test_insert_subscribe()


class TestNoInterleaving(_OnAFreshDatabase, cases.NonInterleavingNotificationIDsBaseCase):
    insert_num = 1000


def test_start_is_refused_when_inserts_would_go_through_the_library_function(database: Database) -> None:
    database.datastore.enable_db_functions = True
    with pytest.raises(DatabaseUnusable, match="leave it unset"):
        LogRecorder(database.datastore)


def test_the_recorder_was_tried_as_a_role_that_cannot_rewrite(database: Database) -> None:
    """The cases above prove something only if the role really is the restricted one."""
    recorder = LogRecorder(database.datastore)
    recorder.insert_events([StoredEvent(uuid4(), 1, "topic", b"state")])
    with (
        database.datastore.pool.connection() as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("DELETE FROM events")
