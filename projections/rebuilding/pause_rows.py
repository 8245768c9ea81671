"""What is paused, told anew by the events of the settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from event_log import delivery_pauses
from event_log.envelope import RecordedEvent
from event_log.errors import Undecodable
from event_log.log import Log
from event_log.topics import SETTINGS
from projections.rebuilding.errors import Unfaithful
from projections.rebuilding.new_version import AppendLock, Topics, Version, Writer, about, queries
from projections.rebuilding.tables import beside


class PauseRows:
    table = "delivery_pauses"
    topics = Topics(SETTINGS)

    def __init__(self, log: Log) -> None:
        self.writer: Writer = AppendLock(log)

    def apply(self, connection: Connection[TupleRow], events: Sequence[RecordedEvent]) -> None:
        for event in events:
            if isinstance(event.fact, Undecodable):
                # Left out it could set free what somebody has paused.
                raise Unfaithful(
                    f"the event at position {event.position} cannot be read ({event.fact}): "
                    "the pauses stay as they are."
                )
        delivery_pauses.project(connection.cursor(binary=True), events, beside(self.table))

    def settle(self, cursor: Cursor[Any]) -> None:
        """All of it comes from the log."""

    def content_hashes(self, *versions: Version) -> list[str]:
        return [_hash(connection, table) for connection, table in versions]


def _hash(connection: Connection[TupleRow], table: str) -> str:
    row = connection.execute(about(queries.pauses_hash, table=table)).fetchone()
    assert row is not None
    return str(row[0])
