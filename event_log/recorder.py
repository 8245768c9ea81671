"""Our recorder: the eventsourcing library's, with three more columns and an advisory lock.

The library's own table lock needs rights an append-only role does not have, and conflicts with
maintenance; its function-based inserts take no lock at all and lose events for readers, so they are refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypedDict
from uuid import UUID

import eventsourcing.postgres as es
from eventsourcing.persistence import StoredEvent
from psycopg import Connection, Cursor, sql

from event_log.errors import DatabaseUnusable
from event_log.sql import load

_queries = load("event_log", "recorder.sql")

WAKE_CHANNEL = "tidings"
APPEND_LOCK = 0x7469_6469_6E67
"""Key of the transaction-scoped advisory lock that puts commits in the order of positions."""
LOCK_TIMEOUT_MS = 1000
"""An append that waits longer for its turn fails as unavailable instead of piling up."""


@dataclass(frozen=True)
class LogEntry(StoredEvent):
    """A stored event with the columns that are ours."""

    instance_id: str = ""
    event_id: UUID | None = None


class Columns(TypedDict):
    """Of the events to append, each an array of the same length."""

    streams: list[UUID] | list[UUID | str]
    versions: list[int]
    topics: list[str]
    states: list[bytes]
    instances: list[str]
    event_ids: list[UUID | None]


class LogRecorder(es.PostgresApplicationRecorder):
    """Appends to and reads from the table ``events``."""

    def __init__(self, datastore: es.PostgresDatastore) -> None:
        if datastore.enable_db_functions:
            raise DatabaseUnusable("POSTGRES_ENABLE_DB_FUNCTIONS makes readers miss events: leave it unset.")
        super().__init__(datastore, events_table_name="events")
        self.sql_create_statements.clear()  # migrations own the schema
        self.lock_table_statements = [
            sql.SQL("SET LOCAL lock_timeout = {}").format(LOCK_TIMEOUT_MS),
            sql.SQL("SELECT pg_advisory_xact_lock({})").format(APPEND_LOCK),
        ]
        self._lock = sql.SQL("; ").join(self.lock_table_statements)
        self._begin = sql.SQL("BEGIN; ") + self._lock

    def lock(self, cursor: Cursor[Any]) -> None:
        """Wait for our turn to append; held until the transaction ends."""
        cursor.connection.execute(self._lock)

    @contextmanager
    def turn(self, connection: Connection[Any], wakes: Collection[str]) -> Iterator[None]:
        """A transaction that begins with the lock and ends by waking readers, each in one round trip.

        ``wakes`` is looked at in the end. What raises leaves a transaction that whoever lent the
        connection rolls back.
        """
        connection.execute(self._begin)
        yield
        connection.execute(_end(frozenset(wakes)))

    def insert(self, cursor: Cursor[Any], columns: Columns) -> None:
        """Append events in one statement, one binary array a column; the positions are its rows."""
        cursor.execute(_queries.insert_events, columns, prepare=True)

    def _insert_stored_events(
        self, curs: Cursor[Any], stored_events: Sequence[StoredEvent], **_: object
    ) -> None:
        self._lock_table(curs)
        self._notify_channel(curs)
        self.insert(curs, columns_of(stored_events))


@cache
def _end(wakes: frozenset[str]) -> sql.Composed | sql.SQL:
    """Wakes these kinds of readers and commits, in one message: so nothing can be a parameter."""
    if not wakes:
        return sql.SQL("COMMIT")
    kinds = sql.Literal(",".join(sorted(wakes)))
    return sql.SQL("SELECT pg_notify({}, {}); COMMIT").format(WAKE_CHANNEL, kinds)


def columns_of(events: Sequence[StoredEvent]) -> Columns:
    """What the library wraps singly."""
    ours = [event if isinstance(event, LogEntry) else None for event in events]
    return Columns(
        streams=[event.originator_id for event in events],
        versions=[event.originator_version for event in events],
        topics=[event.topic for event in events],
        states=[event.state for event in events],
        instances=[event.instance_id if event else "" for event in ours],
        event_ids=[event.event_id if event else None for event in ours],
    )
