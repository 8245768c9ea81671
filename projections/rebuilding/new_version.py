"""What a rebuild needs to know of a projection, and who writes it meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol, TypeAlias, TypeVar

import msgspec
from psycopg import Connection, Cursor, sql
from psycopg.rows import TupleRow

from event_log.envelope import RecordedEvent
from event_log.log import Log, head
from event_log.sql import load
from projections import tracking

queries = load("projections", "rebuild.sql")

T = TypeVar("T")

PAGE = 5000
REMEMBERED = 50_000
"""Rows kept back in memory, so that most are written once, as they are in the end."""


Version: TypeAlias = tuple[Connection[TupleRow], str]
"""A table, and the connection that sees it."""


class Writer(Protocol):
    """Whoever keeps the table in use up to date."""

    def reached(self, cursor: Cursor[Any]) -> int:
        """The position up to which the log is in the table."""

    def hold(self, cursor: Cursor[Any]) -> int:
        """The same, and until the transaction ends it stays there."""


class Topics(msgspec.Struct, frozen=True):
    """Those that begin with a prefix, known to this code or not, or those of these names."""

    prefix: str | None = None
    names: list[str] = []


class NewVersion(Protocol):
    """A projection's rows on their way into a table beside ``table``."""

    table: str
    """The table in use."""
    topics: Topics
    """What concerns it; nothing else is read."""
    writer: Writer

    def apply(self, connection: Connection[TupleRow], events: Sequence[RecordedEvent]) -> None:
        """Fold the next events, in the transaction of ``connection``; rows may be kept back for a while."""

    def settle(self, cursor: Cursor[Any]) -> None:
        """Write what was kept back, and take over from the table in use what the log does not tell.

        May be done again.
        """

    def content_hashes(self, *versions: Version) -> list[str]:
        """Of each version; the same for those that hold the same rows, whatever order or seal these have."""


class AppendLock:
    """The due queue is written in the transactions that append, so it has always reached the head."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def reached(self, cursor: Cursor[Any]) -> int:
        return head(cursor)[0]

    def hold(self, cursor: Cursor[Any]) -> int:
        self._log.recorder.lock(cursor)
        return self.reached(cursor)


class Tracked:
    """A projection that moves its tracking row in the transaction that stores its effect."""

    def __init__(self, projection: str) -> None:
        self._projection = projection

    def reached(self, cursor: Cursor[Any]) -> int:
        return tracking.position(cursor, self._projection)

    def hold(self, cursor: Cursor[Any]) -> int:
        cursor.execute(queries.begin_tracking, {"projection": self._projection})
        cursor.execute(queries.hold_tracking, {"projection": self._projection})
        row = cursor.fetchone()
        assert row is not None
        return int(row[0])


def in_pages(rows: Iterable[T]) -> Iterator[list[T]]:
    """As many as are written at once: between two statements of a transaction little time may pass."""
    left = iter(rows)
    while page := list(islice(left, PAGE)):
        yield page


def about(statement: str, **names: str) -> sql.Composed:
    """The statement with its ``{placeholders}`` filled with the names of tables, columns or indexes."""
    identifiers = {place: sql.Identifier(name) for place, name in names.items()}
    return sql.SQL(statement).format(**identifiers)
