"""Give-ups as reports, in the order of the log, and how far the operator has been told of them.

The place is kept in a table that no rebuild knows of, and moves only forward: replays cannot report again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from event_log.envelope import RecordedEvent
from event_log.errors import LostRace, Undecodable, UnknownTopic
from event_log.log import Log, read_stream
from event_log.sql import load
from event_log.topics import OURS
from event_log.topics import TOPICS as EVERY_TOPIC
from notification_domain.give_ups import GiveUp, give_up
from notification_domain.notification import Declined, Initial, State, fold
from notification_domain.notification_events import Event, NotificationRequested

_queries = load("projections", "give_ups.sql")

NAME = "give-up hook"
TOPICS = ("notification.cancelled", "notification.outcome.unknown")
_KNOWN = [topic.name for topic in EVERY_TOPIC]
WINDOW = 200
"""Positions looked at in one go."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One give-up, with what the log knows of its notification; nothing that names a person."""

    notification: UUID
    instance: str
    version: int
    """Of the event in the notification's stream: the same report in every telling."""
    position: int
    recorded_at: datetime
    requested_at: datetime
    what: GiveUp | None
    """None when the event cannot be read, as after its person was erased."""
    request: NotificationRequested | None = None
    attempts: int = 0


class Ahead(msgspec.Struct, frozen=True):
    """What lies behind the place reached: up to ``to`` there is this report, or none."""

    since: int
    to: int
    report: Report | None = None


class Standing(msgspec.Struct, frozen=True):
    position: int
    reported: int
    failures: int
    """Calls in a row that failed."""
    failing: float
    """Seconds since the first of them."""


def begin(log: Log) -> None:
    """Take the log's end for the place reached, unless there is one: what was before is nobody's news."""
    with log.database.connection() as connection:
        _position(connection.cursor())


def ahead(log: Log, window: int = WINDOW) -> Ahead:
    """Raises UnknownTopic for what newer code has written: that code has to report it."""
    with log.database.connection() as connection:
        cursor = connection.cursor()
        since = _position(cursor)
        wanted = {"topics": list(TOPICS), "ours": OURS, "known": _KNOWN}
        cursor.execute(_queries.ahead, {"position": since, "limit": window, **wanted}, prepare=True)
        rows = cursor.fetchall()
        events = log.decode(cursor, [row for row in rows if row[6] is not None])
    found = next((event for event in events if _tells(event)), None)
    if found is None:
        return Ahead(since, rows[-1][0] if rows else since)
    return Ahead(since, found.position, _report(log, found))


def pass_over(log: Log, ahead: Ahead) -> None:
    """Where nothing was to be reported. Raises LostRace when another process has moved on meanwhile."""
    _move(log, _queries.pass_over, ahead)


def told(log: Log, ahead: Ahead) -> None:
    """The report has arrived. Raises LostRace when another process has moved on meanwhile."""
    _move(log, _queries.told, ahead)


def failed(log: Log, ahead: Ahead, now: datetime) -> None:
    with log.database.connection() as connection:
        connection.execute(_queries.failed, {"since": ahead.since, "now": now})


def standing(connection: Connection[TupleRow], now: datetime) -> Standing | None:
    """None where the hook was never configured."""
    row = connection.execute(_queries.standing, {"now": now}).fetchone()
    return Standing(*row) if row else None


def _position(cursor: Cursor[Any]) -> int:
    row = cursor.execute(_queries.position, prepare=True).fetchone()
    if row is None:
        cursor.execute(_queries.begin)
        row = cursor.execute(_queries.position).fetchone()
    assert row
    return int(row[0])


def _move(log: Log, statement: str, ahead: Ahead) -> None:
    with log.database.connection() as connection:
        moved = connection.execute(statement, {"since": ahead.since, "to": ahead.to}, prepare=True)
        if moved.rowcount != 1:
            raise LostRace(f"another process is running the {NAME}")


def _tells(event: RecordedEvent) -> bool:
    if event.topic.startswith(OURS) and event.topic not in _KNOWN:
        raise UnknownTopic(f"the topic {event.topic} is not known to this version")
    match event.fact:
        case UnknownTopic():
            raise event.fact
        case Undecodable():
            return event.topic in TOPICS
        case fact:
            return isinstance(fact, Event) and give_up(fact) is not None


def _report(log: Log, event: RecordedEvent) -> Report:
    stream = [one for one in read_stream(log, event.stream) if one.version <= event.version]
    first = stream[0].fact
    return Report(
        notification=event.stream,
        instance=event.instance,
        version=event.version,
        position=event.position,
        recorded_at=event.recorded_at,
        requested_at=stream[0].recorded_at,
        what=give_up(event.fact) if isinstance(event.fact, Event) else None,
        request=first if isinstance(first, NotificationRequested) else None,
        attempts=_attempts(stream),
    )


def _attempts(stream: Sequence[RecordedEvent]) -> int:
    state: State = fold([event.fact for event in stream if isinstance(event.fact, Event)])
    return 0 if isinstance(state, Initial | Declined) else state.progress.total_spent
