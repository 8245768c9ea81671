"""The history, folded anew by the projection itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from event_log.envelope import RecordedEvent
from event_log.topics import OURS
from projections import history
from projections.rebuilding.new_version import Topics, Tracked, Writer
from projections.rebuilding.tables import beside
from projections.rebuilding.unread_streams import UnreadStreams


class HistoryRows:
    table = history.TABLE
    topics = Topics(OURS)

    def __init__(self) -> None:
        self.writer: Writer = Tracked(history.NAME)
        self._projection = history.History(beside(self.table))
        self._unread = UnreadStreams(self.table, "id")

    def apply(self, connection: Connection[TupleRow], events: Sequence[RecordedEvent]) -> None:
        self._unread.note(connection.cursor(binary=True), events)
        self._projection.apply(connection, events)

    def settle(self, cursor: Cursor[Any]) -> None:
        self._unread.keep_rows(cursor)

    def content_hash(self, connection: Connection[TupleRow], table: str) -> str:
        return history.content_hash(connection, table)
