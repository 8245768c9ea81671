"""The history, folded anew by the projection itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from event_log.envelope import RecordedEvent
from event_log.topics import OURS
from projections import history
from projections.history import Decided, Stage, decided, first_stage, moved
from projections.rebuilding.new_version import REMEMBERED, Topics, Tracked, Version, Writer, in_pages
from projections.rebuilding.tables import beside
from projections.rebuilding.unread_streams import UnreadStreams


class HistoryRows:
    table = history.TABLE
    topics = Topics(OURS)

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self.writer: Writer = Tracked(history.NAME)
        self._projection = history.History(beside(self.table))
        self._unread = UnreadStreams(self.table, "id")
        self._remembered = remembered
        self._rows: dict[UUID, tuple[Decided, Stage]] = {}

    def apply(self, connection: Connection[TupleRow], events: Sequence[RecordedEvent]) -> None:
        self._unread.note(connection.cursor(binary=True), events)
        self._projection.apply(connection, [event for event in events if not self._takes(event)])
        if len(self._rows) > self._remembered:
            self._write(connection)

    def settle(self, cursor: Cursor[Any]) -> None:
        self._write(cursor.connection)
        self._unread.keep_rows(cursor)

    def _takes(self, event: RecordedEvent) -> bool:
        """Whether it is of a row that is not written yet."""
        begun = decided(event)
        if begun is not None:
            self._rows[event.stream] = begun, first_stage(event)
        elif event.stream in self._rows:
            begun, stage = self._rows[event.stream]
            self._rows[event.stream] = begun, moved(stage, event)
        else:
            return False
        return True

    def _write(self, connection: Connection[TupleRow]) -> None:
        for rows in in_pages(self._rows.values()):
            self._projection.begin(connection, rows)
        self._rows.clear()

    def content_hashes(self, *versions: Version) -> list[str]:
        return [history.content_hash(connection, table) for connection, table in versions]
