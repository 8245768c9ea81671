"""The due queue, folded anew: one row an open notification; its leases come from the table in use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from event_log import due_queue
from event_log.due_queue import due_row
from event_log.envelope import RecordedEvent
from event_log.log import Log, read_streams
from event_log.topics import OURS
from notification_domain.notification import Initial, State, evolve
from notification_domain.notification_events import Event
from projections.rebuilding.new_version import (
    REMEMBERED,
    AppendLock,
    Topics,
    Version,
    Writer,
    about,
    in_pages,
    queries,
)
from projections.rebuilding.tables import beside
from projections.rebuilding.unread_streams import UnreadStreams


class DueRows:
    table = "due_notifications"
    topics = Topics(OURS)

    def __init__(self, log: Log, remembered: int = REMEMBERED) -> None:
        self.writer: Writer = AppendLock(log)
        self._log = log
        self._remembered = remembered
        self._open: dict[UUID, State] = {}
        self._touched: dict[UUID, str] = {}
        """Streams and their instances whose rows are to be written."""
        self._begun: set[UUID] = set()
        """Of these, the ones that have no row yet."""
        self._unread = UnreadStreams(self.table, "notification_id")

    def apply(self, connection: Connection[TupleRow], events: Sequence[RecordedEvent]) -> None:
        cursor = connection.cursor(binary=True)
        begun = {event.stream for event in events if event.version == 1}
        self._unread.note(cursor, events)
        self._recall([event for event in events if event.stream not in begun])
        self._begun |= begun
        for event in events:
            self._evolve(event)
        if len(self._open) > self._remembered:
            self._write(cursor)

    def settle(self, cursor: Cursor[Any]) -> None:
        self._write(cursor)
        self._unread.keep_rows(cursor)
        cursor.execute(about(queries.carry_leases, table=self.table, new=beside(self.table)))

    def content_hashes(self, *versions: Version) -> list[str]:
        return [due_hash(connection, table) for connection, table in versions]

    def _recall(self, events: Sequence[RecordedEvent]) -> None:
        """Fold again what began earlier and is not remembered: long idle, or closed and resent."""
        missing: dict[UUID, int] = {}
        for event in events:
            if event.stream not in self._open:
                missing.setdefault(event.stream, event.version)
        if missing:
            for stream, history in read_streams(self._log, list(missing)).items():
                for event in history[: missing[stream] - 1]:
                    self._evolve(event)

    def _evolve(self, event: RecordedEvent) -> None:
        # Taken out and put back: the order of the dict is that of their last events.
        state = self._open.pop(event.stream, Initial())
        if isinstance(event.fact, Event):
            state = evolve(state, event.fact)
        self._open[event.stream] = state
        self._touched[event.stream] = event.instance

    def _write(self, cursor: Cursor[Any]) -> None:
        closed: set[UUID] = set()
        for page in in_pages(self._touched.items()):
            rows = [row for stream, of in page if (row := due_row(stream, of, self._open[stream]))]
            closed |= {stream for stream, _ in page} - {row.notification for row in rows}
            due_queue.put(cursor, rows, beside(self.table))
        for gone in in_pages(closed - self._begun):
            due_queue.remove(cursor, gone, beside(self.table))
        self._touched.clear()
        self._begun.clear()
        self._forget(closed)

    def _forget(self, closed: set[UUID]) -> None:
        for stream in closed:
            del self._open[stream]
        for stream in list(self._open)[: max(len(self._open) - self._remembered, 0)]:
            del self._open[stream]


def due_hash(connection: Connection[TupleRow], table: str) -> str:
    """Over the projection's own columns: when a row is due at the earliest, but not who leases it."""
    row = connection.execute(about(queries.due_hash, table=table)).fetchone()
    assert row is not None
    return str(row[0])
