"""The tables of the log as plain dictionaries; what a transaction has done can be undone."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

import msgspec

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)

EventRow: TypeAlias = tuple[int, str, UUID, int, str, datetime, bytes]
"""position, instance, stream, version, topic, recorded at, state"""


class Due(msgspec.Struct, frozen=True, gc=False):
    notification_id: UUID
    instance_id: str
    channel: str
    priority: int
    not_before: datetime
    expires_at: datetime
    cause_stream: UUID
    cause_version: int
    supersede_key: str
    due_at: datetime
    retry: bool = False
    claims: int = 0
    lease_token: int | None = None
    lease_until: datetime | None = None


class Secret(msgspec.Struct, frozen=True, gc=False):
    secret_id: UUID
    instance_id: str
    stream_id: UUID
    stream_version: int
    sealed: bytes
    expires_at: datetime | None


class Table(dict[Any, Any]):
    """Rows by key; every change goes through ``put`` and ``drop``."""

    def __init__(self, tables: Tables) -> None:
        super().__init__()
        self._tables = tables

    def put(self, key: Any, row: Any) -> None:  # noqa: ANN401  # rows are data
        journal = self._tables.journal
        if journal is not None:
            journal.append((self, key, self.get(key)))
        self[key] = row

    def drop(self, key: Any) -> None:  # noqa: ANN401
        journal = self._tables.journal
        if key in self and journal is not None:
            journal.append((self, key, self[key]))
        self.pop(key, None)


class Tables:
    """One database. ``elapsed`` gives the seconds its clock has run."""

    def __init__(self, elapsed: Callable[[], float]) -> None:
        self._elapsed = elapsed
        self.journal: list[tuple[Table, Any, Any]] | None = None
        self.lock_holder: object | None = None
        self.events = Table(self)
        """By stream and version."""
        self.streams: dict[UUID, list[EventRow]] = {}
        self.log: list[EventRow] = []
        self.known_ids = Table(self)
        self.due = Table(self)
        self.pauses = Table(self)
        self.secrets = Table(self)
        self.keys = Table(self)
        self.keys_by_id = Table(self)
        self.recipients = Table(self)
        self.tracking = Table(self)
        self.quarantine = Table(self)
        self.last_position = 0
        self.wakes: list[str] = []

    def now(self) -> datetime:
        """The database's own clock."""
        return EPOCH + timedelta(seconds=self._elapsed())

    def next_position(self) -> int:
        """As a sequence does: never given back."""
        self.last_position += 1
        return self.last_position

    def add_event(self, row: EventRow, event_id: UUID | None) -> None:
        self.events.put((row[2], row[3]), row)
        if event_id is not None:
            self.known_ids.put(event_id, row)
        insort(self.streams.setdefault(row[2], []), row, key=lambda known: known[3])
        insort(self.log, row, key=lambda known: known[0])

    def after(self, position: int, limit: int) -> list[EventRow]:
        start = bisect_right(self.log, position, key=lambda row: row[0])
        return self.log[start : start + limit]

    def undo(self) -> None:
        """Take back what the open transaction has done."""
        for table, key, before in reversed(self.journal or ()):
            if table is self.events:
                row = table[key]
                self.streams[row[2]].remove(row)
                self.log.remove(row)
            if before is None:
                table.pop(key, None)
            else:
                table[key] = before
        self.journal = None
        self.wakes.clear()
