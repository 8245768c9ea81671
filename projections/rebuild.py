"""Rebuild: fill a new version of a projection's table from the log, and swap it in.

Nobody waits for it but at the swap, for a moment: the table in use is read and written all the while.
A rebuild that dies leaves that table as it was. It appends nothing, and has no path to a provider.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias, TypeVar

import msgspec
import psycopg
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from event_log.envelope import RecordedEvent
from event_log.log import Log
from projections.rebuilding import tables
from projections.rebuilding.due_rows import DueRows
from projections.rebuilding.errors import AlreadyRebuilding, NotRebuildable, RebuildBlocked, Unfaithful
from projections.rebuilding.history_rows import HistoryRows
from projections.rebuilding.new_version import NewVersion, queries
from projections.rebuilding.pause_rows import PauseRows
from projections.rebuilding.recipient_rows import RecipientRows

T = TypeVar("T")

REBUILDABLE = ("due", "recipients", "history", "pauses")
BATCH = 5000
TRIES = 30
LOCK_MS = 1000
"""The longest a try to swap keeps others waiting."""
CALM_MS = 3000
"""Longer than PostgreSQL's deadlock_timeout, after which a vacuum gives way; nobody else waits for this."""


class Progress(msgspec.Struct, frozen=True):
    position: int
    head: int
    """Where it has to get to; moves on while others append."""
    events: int
    """Positions passed so far."""
    phase: str
    """filling, catching up, swapping or done."""


class Rebuilt(msgspec.Struct, frozen=True):
    name: str
    events: int
    rows: int
    content_hash: str
    """Of the new version, at one position shortly before the swap."""
    previous_hash: str
    """Of the version it replaced, at the same position."""
    equal: bool


class _Comparison(msgspec.Struct, frozen=True):
    """Both versions at one position."""

    rows: int
    content_hash: str
    previous_hash: str


Report: TypeAlias = Callable[[Progress], None]


def rebuild(
    log: Log, name: str, *, report: Report = lambda _: None, batch: int = BATCH, tries: int = TRIES
) -> Rebuilt:
    """Rebuild a projection; ``log`` is opened as the owner, with two connections or more.

    Raises RebuildError or LogUnavailable; then the version in use stands.
    """
    with log.database.connection() as connection, _alone(connection, name):
        version = _version(log, name)
        with tables.new_table(connection, version.table):
            run = _Run(log, connection, version, report, batch)
            compared = run.compare(tries)
            run.swap(tries)
            run.tell("done", run.position)
    return Rebuilt(
        name=name,
        events=run.events,
        rows=compared.rows,
        content_hash=compared.content_hash,
        previous_hash=compared.previous_hash,
        equal=compared.content_hash == compared.previous_hash,
    )


def content_hash(log: Log, connection: Connection[TupleRow], name: str) -> str:
    """Of the version in use: what is derived from the log, without leases, whatever seals it."""
    version = _version(log, name)
    (found,) = version.content_hashes((connection, version.table))
    return found


def _version(log: Log, name: str) -> NewVersion:
    match name:
        case "due":
            return DueRows(log)
        case "recipients":
            return RecipientRows(log)
        case "history":
            return HistoryRows()
        case "pauses":
            return PauseRows(log)
        case _:
            raise NotRebuildable(f"{name} cannot be rebuilt; these can: {', '.join(REBUILDABLE)}.")


@contextmanager
def _alone(connection: Connection[TupleRow], name: str) -> Iterator[None]:
    """Waits a moment: the server may not have noticed yet that an earlier rebuild was killed."""
    try:
        with connection.transaction():
            tables.wait_at_most(connection.cursor(binary=True), LOCK_MS)
            connection.execute(queries.only_one, {"name": name})
    except psycopg.errors.LockNotAvailable as error:
        raise AlreadyRebuilding(f"{name} is being rebuilt already: wait until that has ended.") from error
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute(queries.let_others, {"name": name})


class _Busy(Exception):
    """A lock could not be had in time; nothing was done."""


@contextmanager
def _waiting() -> Iterator[None]:
    try:
        yield
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
        raise _Busy from error


class _Run:
    """One rebuild: how far it has come, and its steps in order."""

    def __init__(
        self, log: Log, connection: Connection[TupleRow], version: NewVersion, report: Report, batch: int
    ) -> None:
        self._log = log
        self._connection = connection
        self._cursor: Cursor[Any] = connection.cursor(binary=True)
        self._version = version
        self._report = report
        self._batch = batch
        self.position = 0
        self.events = 0

    def tell(self, phase: str, head: int) -> None:
        self._report(Progress(self.position, max(head, self.position), self.events, phase))

    def compare(self, tries: int) -> _Comparison:
        """Fill the new version, and hold it against the one in use, each as it is at one position."""
        version, table = self._version, self._version.table
        self._follow("filling")
        with self._connection.transaction():
            version.settle(self._cursor)
            tables.make_findable(self._connection, table)
        with self._log.database.connection() as onlooker, onlooker.transaction():
            onlooker.execute(queries.stand_still)
            self._catch_up(self._patiently(partial(self._mark, onlooker), tries))
            with self._connection.transaction():
                version.settle(self._cursor)
            before, after = (onlooker, table), (self._connection, tables.beside(table))
            previous_hash, content_hash = version.content_hashes(before, after)
        return _Comparison(tables.count(*after), content_hash, previous_hash)

    def swap(self, tries: int) -> None:
        self._patiently(self._try_to_swap, tries)

    def _mark(self, onlooker: Connection[TupleRow]) -> int:
        """The position at which the onlooker sees the version in use from now on.

        Its writer waits only until the onlooker has its snapshot, not for the hash.
        """
        with self._connection.transaction():
            position = self._hold()
            onlooker.execute(queries.look)
        return position

    def _hold(self) -> int:
        with _waiting():
            tables.wait_at_most(self._cursor, LOCK_MS)
            position = self._version.writer.hold(self._cursor)
        if position < self.position:
            raise Unfaithful("the projection was set back meanwhile: rebuild it again.")
        return position

    def _try_to_swap(self) -> None:
        self._follow("catching up")
        self.tell("swapping", self.position)
        table = self._version.table
        with self._connection.transaction():
            with _waiting():
                tables.wait_at_most(self._cursor, CALM_MS)
                tables.calm(self._cursor, table)
            position = self._hold()
            with _waiting():
                tables.close(self._cursor, table)
            # From here on nothing is waited for: what is folded now cannot be rolled back by a lock.
            self._catch_up(position)
            self._version.settle(self._cursor)
            tables.swap(self._cursor, table)

    def _follow(self, phase: str) -> None:
        """Up to where the version in use is, wherever that has got to meanwhile."""
        while (head := self._version.writer.reached(self._cursor)) > self.position:
            self._take_batch(head)
            self.tell(phase, head)

    def _catch_up(self, position: int) -> None:
        while self.position < position:
            self._take_batch(position)

    def _take_batch(self, until: int) -> None:
        since, to = self.position, min(self.position + self._batch, until)
        events = self._read(since, to)
        if events:
            with self._connection.transaction():
                self._version.apply(self._connection, events)
        self.events += to - since
        self.position = to

    def _read(self, since: int, to: int) -> Sequence[RecordedEvent]:
        """What concerns the projection among these positions; all of them are committed."""
        of = self._version.topics
        parameters = {"since": since, "to": to, "prefix": of.prefix, "names": of.names}
        # Planned for these names each time: a plan for any names would compare them one by one.
        self._cursor.execute(queries.page, parameters, prepare=False)
        return self._log.decode(self._cursor, self._cursor.fetchall())

    def _patiently(self, step: Callable[[], T], tries: int) -> T:
        for _ in range(tries):
            try:
                return step()
            except _Busy:
                continue
        raise RebuildBlocked(
            f"{self._version.table} could not be had for a moment in {tries} tries: "
            "end what holds it for long (a dump, an open transaction), then rebuild again."
        )
