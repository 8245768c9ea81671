"""Streams that hold an event this code cannot read: their rows stay as they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from psycopg import Cursor

from event_log.envelope import RecordedEvent
from event_log.errors import Undecodable
from projections.rebuilding.new_version import about, queries
from projections.rebuilding.tables import beside


class UnreadStreams:
    """Kept in a temporary table: those of erased people may be many.

    What newer code has written, or what was sealed under a key that is destroyed, told the table in use
    something once. Rows folded from what is left would be wrong, rows left out would be lost.
    """

    def __init__(self, table: str, key: str) -> None:
        self._names = {"table": table, "new": beside(table), "key": key}
        self._any = False

    def note(self, cursor: Cursor[Any], events: Iterable[RecordedEvent]) -> None:
        streams = {event.stream for event in events if isinstance(event.fact, Undecodable)}
        if streams:
            self._begin(cursor)
            cursor.execute(queries.note_unread, {"streams": list(streams)})

    def _begin(self, cursor: Cursor[Any]) -> None:
        if not self._any:
            cursor.execute(queries.create_unread)
            cursor.execute(queries.empty_unread)
            self._any = True

    def keep_rows(self, cursor: Cursor[Any]) -> None:
        if self._any:
            cursor.execute(about(queries.leave_out_unread, **self._names))
            cursor.execute(about(queries.keep_unread, **self._names))
