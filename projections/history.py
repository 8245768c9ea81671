"""The history: what became of every notification, one row each, trailing the log.

``evolve`` is the pure fold; ``History`` writes its rows; the queries stand at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import LiteralString, TypeAlias, cast
from uuid import UUID

import msgspec
from msgspec.structs import replace
from psycopg import Connection, sql
from psycopg.rows import TupleRow

from event_log.envelope import RecordedEvent
from event_log.sql import load
from notification_domain.notification_events import (
    Aftermath,
    AttemptStarted,
    NotificationCancelled,
    NotificationDeclined,
    NotificationRequested,
    NotificationSent,
    OutcomeUnknown,
    ResendRequested,
    RetryRequested,
    TransmissionStarted,
)

_queries = load("projections", "history.sql")

NAME = "history"
TABLE = "notifications"
STATES = ("waiting", "attempting", "transmitting", "parked", "sent", "cancelled", "declined")


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the history; its fields are the table's columns, in order."""

    id: UUID
    instance_id: str
    state: str
    reason: str | None = None
    message_type: str
    channel: str
    user_id: str
    organisation_id: str
    source: str
    event_id: str
    """The caller's id of the source event."""
    event_type: str
    attempts: int = 0
    """Attempts that ended with an outcome or reached the point of no return."""
    requested_at: datetime
    closed_at: datetime | None = None
    position: int
    """Of the decision."""
    version: int


_COLUMNS = Notification.__struct_fields__
_Step: TypeAlias = (
    AttemptStarted
    | TransmissionStarted
    | RetryRequested
    | OutcomeUnknown
    | NotificationSent
    | NotificationCancelled
    | ResendRequested
)

# --- the fold -------------------------------------------------------------------------------------


def evolve(known: Notification | None, event: RecordedEvent) -> Notification | None:
    """The row after an event; one that it has seen already, or that is no notification's, changes nothing."""
    fact = event.fact
    if isinstance(fact, NotificationRequested | NotificationDeclined):
        return known or _decided(fact, event)
    if known is None or event.version <= known.version or not isinstance(fact, _Step):
        return known
    if known.closed_at is not None and not (isinstance(fact, ResendRequested) and known.state != "declined"):
        return known
    return _moved(replace(known, version=event.version), fact, event.recorded_at)


def fold(events: Iterable[RecordedEvent]) -> Notification | None:
    """The row that a notification's whole stream leads to; None for another kind of stream."""
    row: Notification | None = None
    for event in events:
        row = evolve(row, event)
    return row


def _decided(decision: NotificationRequested | NotificationDeclined, event: RecordedEvent) -> Notification:
    declined = isinstance(decision, NotificationDeclined)
    return Notification(
        id=event.stream,
        instance_id=event.instance,
        state="declined" if declined else "waiting",
        reason=decision.reason.value if isinstance(decision, NotificationDeclined) else None,
        message_type=decision.message_type,
        channel=decision.channel,
        user_id=decision.user_id,
        organisation_id=decision.organisation_id,
        source=decision.source.source,
        event_id=decision.source.id,
        event_type=decision.source.type,
        requested_at=event.recorded_at,
        closed_at=event.recorded_at if declined else None,
        position=event.position,
        version=event.version,
    )


def _moved(row: Notification, fact: _Step, at: datetime) -> Notification:
    state = _state_after(fact)
    return replace(
        row,
        state=state,
        reason=fact.reason.value if isinstance(fact, NotificationCancelled) else None,
        attempts=row.attempts + _spends(row.state, fact),
        closed_at=at if state in ("sent", "cancelled") else None,
    )


def _state_after(fact: _Step) -> str:
    match fact:
        case AttemptStarted():
            return "attempting"
        case TransmissionStarted():
            return "transmitting"
        case RetryRequested() | ResendRequested() | OutcomeUnknown(aftermath=Aftermath.RESEND):
            return "waiting"
        case OutcomeUnknown():
            return "parked"
        case NotificationSent():
            return "sent"
        case NotificationCancelled():
            return "cancelled"


def _spends(state: str, fact: _Step) -> int:
    """Whether an event uses up an attempt: the same count as the aggregate's own."""
    match fact:
        case TransmissionStarted():
            return 1
        case RetryRequested(counts=counts):
            return int(counts and state != "transmitting")
        case NotificationCancelled(stage=stage):
            return int(state == "attempting" and bool(stage))
        case _:
            return 0


# --- the writer -----------------------------------------------------------------------------------


class History:
    """The projection; ``table`` is another one of the same shape while a rebuild fills it."""

    name = NAME

    def __init__(self, table: str = TABLE) -> None:
        self._current = _about("current", table)
        self._upsert = _about("upsert", table)

    def apply(self, connection: Connection[TupleRow], events: Sequence[RecordedEvent]) -> None:
        """Runs in the transaction that moves the tracking."""
        told = [event for event in events if isinstance(event.fact, _Step)]
        begun = [
            event for event in events if isinstance(event.fact, NotificationRequested | NotificationDeclined)
        ]
        rows = self._known(connection, {event.stream for event in told} - {event.stream for event in begun})
        before = dict(rows)
        for event in events:
            row = evolve(rows.get(event.stream), event)
            if row is not None:
                rows[event.stream] = row
        self._write(connection, [row for row in rows.values() if before.get(row.id) is not row])

    def _known(self, connection: Connection[TupleRow], ids: set[UUID]) -> dict[UUID, Notification]:
        if not ids:
            return {}
        found = connection.execute(self._current, {"ids": list(ids)}, prepare=True).fetchall()
        return {row.id: row for row in map(_row, found)}

    def _write(self, connection: Connection[TupleRow], rows: Sequence[Notification]) -> None:
        if rows:
            columns = {name: [getattr(row, name) for row in rows] for name in _COLUMNS}
            connection.execute(self._upsert, columns, prepare=True)


def content_hash(connection: Connection[TupleRow], table: str = TABLE) -> str:
    """The same for two tables exactly when they hold the same rows."""
    found = connection.execute(_about("content_hash", table)).fetchone()
    assert found
    return str(found[0])


def _about(name: str, table: str) -> sql.Composed:
    return sql.SQL(cast(LiteralString, getattr(_queries, name))).format(table=sql.Identifier(table))


def _row(columns: TupleRow) -> Notification:
    row = Notification(**dict(zip(_COLUMNS, columns, strict=True)))
    closed_at = row.closed_at.astimezone(UTC) if row.closed_at else None
    return replace(row, requested_at=row.requested_at.astimezone(UTC), closed_at=closed_at)


# --- the queries ----------------------------------------------------------------------------------


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """What a list is narrowed to: values of one field are alternatives, fields add up; None lets all pass."""

    user_id: tuple[str, ...] | None = None
    state: tuple[str, ...] | None = None
    reason: tuple[str, ...] | None = None
    message_type: tuple[str, ...] | None = None
    channel: tuple[str, ...] | None = None
    organisation_id: tuple[str, ...] | None = None
    event_id: tuple[str, ...] | None = None
    since: datetime | None = None
    """Inclusive, compared with the time of the decision."""
    until: datetime | None = None
    """Exclusive."""


class Progress(msgspec.Struct, frozen=True):
    position: int
    """Everything up to here is in the history."""
    lag_ms: int
    """Age of the oldest event that is not, in milliseconds; 0 when there is none."""


def progress(connection: Connection[TupleRow], projection: str = NAME) -> Progress:
    found = connection.execute(_queries.progress, {"projection": projection}, prepare=True).fetchone()
    assert found
    return Progress(found[0], max(found[1], 0))


def list_notifications(
    connection: Connection[TupleRow], instance: str, filters: Filters, before: int | None, limit: int
) -> list[Notification]:
    """The newest first; ``before`` is the position of the last row of the page before."""
    values = {name: _parameter(getattr(filters, name)) for name in Filters.__struct_fields__}
    found = connection.execute(
        _queries.list_notifications,
        {"instance": instance, "before": before, "limit": limit, **values},
        # Planned anew each time, so that absent filters fall away and the right index is seen.
        prepare=False,
    ).fetchall()
    return [_row(columns) for columns in found]


def _parameter(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
