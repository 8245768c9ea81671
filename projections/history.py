"""The history: what became of every notification, one row each, trailing the log.

``decided`` and ``moved`` are the pure fold; ``History`` writes its rows; the queries stand at the end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import reduce
from typing import LiteralString, TypeAlias, cast
from uuid import UUID

import msgspec
from msgspec.structs import asdict, astuple, replace
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
_OPEN = {"waiting", "attempting", "transmitting", "parked"}
_GIVEN_UP = {"cancelled", "declined"}
"""Closed for a reason."""


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
_DECISIONS = (NotificationRequested, NotificationDeclined)
_STEPS = (
    AttemptStarted,
    TransmissionStarted,
    RetryRequested,
    OutcomeUnknown,
    NotificationSent,
    NotificationCancelled,
    ResendRequested,
)
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


class Decided(msgspec.Struct, frozen=True, gc=False):
    """What of a row stands from its first event on."""

    id: UUID
    instance_id: str
    message_type: str
    channel: str
    user_id: str
    organisation_id: str
    source: str
    event_id: str
    event_type: str
    requested_at: datetime
    position: int


class Stage(msgspec.Struct, frozen=True, gc=False):
    """What of a row moves with its stream."""

    state: str
    version: int
    attempts: int = 0
    reason: str | None = None
    closed_at: datetime | None = None


def decided(event: RecordedEvent) -> Decided | None:
    """What a decision tells; None for any other event."""
    decision = event.fact
    if not isinstance(decision, _DECISIONS):
        return None
    return Decided(
        id=event.stream,
        instance_id=event.instance,
        message_type=decision.message_type,
        channel=decision.channel,
        user_id=decision.user_id,
        organisation_id=decision.organisation_id,
        source=decision.source.source,
        event_id=decision.source.id,
        event_type=decision.source.type,
        requested_at=event.recorded_at,
        position=event.position,
    )


def first_stage(decision: RecordedEvent) -> Stage:
    fact = decision.fact
    if isinstance(fact, NotificationDeclined):
        return Stage("declined", decision.version, 0, fact.reason.value, decision.recorded_at)
    return Stage("waiting", decision.version)


def moved(stage: Stage, event: RecordedEvent) -> Stage:
    """The stage after an event; one that it has seen already, or that moves nothing, changes nothing."""
    fact = event.fact
    if event.version <= stage.version or not isinstance(fact, _STEPS):
        return stage
    closed = stage.closed_at is not None
    if closed and (stage.state == "declined" or not isinstance(fact, ResendRequested)):
        return stage
    state = _state_after(fact)
    return Stage(
        state,
        event.version,
        stage.attempts + _spends(stage.state, fact),
        fact.reason.value if isinstance(fact, NotificationCancelled) else None,
        event.recorded_at if state in ("sent", "cancelled") else None,
    )


def fold(events: Iterable[RecordedEvent]) -> Notification | None:
    """The row that a notification's whole stream leads to; None for another kind of stream."""
    row: tuple[Decided, Stage] | None = None
    for event in events:
        if row is not None:
            row = row[0], moved(row[1], event)
        elif (begun := decided(event)) is not None:
            row = begun, first_stage(event)
    return Notification(**asdict(row[0]), **asdict(row[1])) if row else None


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
        self._stages_known = _about("stages", table)
        self._begin = _about("begin", table)
        self._move = _about("move", table)

    def apply(self, connection: Connection[TupleRow], events: Sequence[RecordedEvent]) -> None:
        """Runs in the transaction that moves the tracking."""
        streams: dict[UUID, list[RecordedEvent]] = defaultdict(list)
        for event in events:
            streams[event.stream].append(event)
        begun, going_on = [], []
        for told in streams.values():
            new = decided(told[0])
            if new is None:
                going_on.append(told)
            else:
                begun.append((new, reduce(moved, told[1:], first_stage(told[0]))))
        self.begin(connection, begun)
        self._go_on(connection, going_on)

    def _go_on(self, connection: Connection[TupleRow], streams: Sequence[Sequence[RecordedEvent]]) -> None:
        known = self.stages(connection, [told[0].stream for told in streams])
        changed: dict[UUID, Stage] = {}
        for told in streams:
            before = known.get(told[0].stream)
            if before is not None and (after := reduce(moved, told, before)) is not before:
                changed[told[0].stream] = after
        self.move(connection, changed)

    def stages(self, connection: Connection[TupleRow], ids: Collection[UUID]) -> dict[UUID, Stage]:
        """Where these stand in the table, without reasons: the next step gives them anew."""
        if not ids:
            return {}
        # Planned each time: a plan made while the table was small would go through all of a large one.
        found = connection.execute(self._stages_known, {"ids": list(ids)}, prepare=False, binary=True)
        return {row[0]: Stage(row[1], row[2], row[3], None, row[4]) for row in found}

    def begin(self, connection: Connection[TupleRow], rows: Sequence[tuple[Decided, Stage]]) -> None:
        if rows:
            columns = zip(*(astuple(new) + astuple(stage) for new, stage in rows), strict=True)
            names = Decided.__struct_fields__ + Stage.__struct_fields__
            parameters = dict(zip(names, map(list, columns), strict=True))
            connection.execute(self._begin, parameters, prepare=True)

    def move(self, connection: Connection[TupleRow], stages: Mapping[UUID, Stage]) -> None:
        if stages:
            columns = zip(*map(astuple, stages.values()), strict=True)
            parameters = dict(zip(Stage.__struct_fields__, map(list, columns), strict=True))
            connection.execute(self._move, parameters | {"id": list(stages)}, prepare=False)


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


_ALTERNATIVES = tuple(name for name in Filters.__struct_fields__ if name not in ("since", "until"))


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
    first = _position_at(connection, instance, filters.since)
    ends = [end for end in (before, _position_at(connection, instance, filters.until)) if end is not None]
    page = {"instance": instance, "first": first, "before": min(ends, default=None), "limit": limit}
    found = connection.execute(
        _queries.list_notifications,
        page | _conditions(filters),
        # Planned anew each time, so that absent filters fall away and the right index is seen.
        prepare=False,
    ).fetchall()
    return [_row(columns) for columns in found]


def _position_at(connection: Connection[TupleRow], instance: str, moment: datetime | None) -> int | None:
    """The position of the first decision at that moment or later."""
    if moment is None:
        return None
    given = {"instance": instance, "moment": moment}
    found = connection.execute(_queries.position_at, given, prepare=True).fetchone()
    assert found
    return int(found[0])


def _conditions(filters: Filters) -> dict[str, object]:
    """The filters, and what follows from them in the terms of the indexes."""
    given = {name: getattr(filters, name) for name in _ALTERNATIVES}
    states, channels = set(filters.state or STATES), filters.channel or ("email",)
    return {
        **{name: None if values is None else list(values) for name, values in given.items()},
        **{
            f"only_{name}": values[0] if values is not None and len(values) == 1 else None
            for name, values in given.items()
        },
        "may_be_sent": "sent" in states,
        "may_be_open": bool(states & _OPEN),
        "may_be_given_up": bool(states & _GIVEN_UP),
        "may_be_mail": "email" in channels,
    }
