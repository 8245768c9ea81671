"""Events no code could digest: set aside with the reason, their stream frozen, the others go on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg import Cursor

from event_log.envelope import RecordedEvent
from event_log.errors import LostRace
from event_log.log import Log
from event_log.sql import load

_queries = load("projections", "quarantine.sql")


class Poison(msgspec.Struct, frozen=True):
    event: RecordedEvent
    reason: str


def frozen(cursor: Cursor[Any], projection: str, streams: Iterable[UUID]) -> set[UUID]:
    """Which of these streams wait for a person, because an earlier event of theirs is quarantined."""
    cursor.execute(_queries.any_frozen, {"projection": projection}, prepare=True)
    if cursor.fetchone() == (False,):
        return set()  # as nearly always
    cursor.execute(_queries.frozen, {"projection": projection, "streams": list(set(streams))}, prepare=True)
    return {stream for (stream,) in cursor.fetchall()}


def since(
    log: Log, cursor: Cursor[Any], projection: str, known: Mapping[UUID, int], topics: Collection[str]
) -> tuple[dict[UUID, list[RecordedEvent]], set[UUID]]:
    """What followed in streams known up to a version, oldest first, and which of them are frozen."""
    parameters = {
        "streams": list(known),
        "versions": list(known.values()),
        "topics": list(topics),
        "projection": projection,
    }
    cursor.execute(_queries.since, parameters, prepare=True)
    rows = cursor.fetchall()
    later: dict[UUID, list[RecordedEvent]] = {}
    for event in log.decode(cursor, [row for row in rows if row[4] is not None]):
        later.setdefault(event.stream, []).append(event)
    return later, {row[2] for row in rows if row[4] is None}


def moved(
    cursor: Cursor[Any], projection: str, position: int, streams: Collection[UUID], until: datetime
) -> bool:
    """Whether one of these streams has gone on since a position, or waits for a person, or a time has come.

    The time is on the database's clock.
    """
    parameters = {"projection": projection, "position": position, "streams": list(streams), "until": until}
    cursor.execute(_queries.moved, parameters, prepare=True)
    row = cursor.fetchone()
    return row is None or row[0]


def streams(cursor: Cursor[Any], projection: str) -> list[UUID]:
    """All that wait."""
    cursor.execute(_queries.streams, {"projection": projection})
    return [stream for (stream,) in cursor.fetchall()]


def check_still_frozen(cursor: Cursor[Any], projection: str, streams: Collection[UUID]) -> None:
    """Raises LostRace when a redrive has freed one meanwhile: what was set aside for it must be read."""
    if streams and frozen(cursor, projection, streams) != set(streams):
        raise LostRace("a stream has left the quarantine")


class SetAside(msgspec.Struct, frozen=True):
    """An event in quarantine, as people see it."""

    position: int
    projection: str
    instance: str
    stream: UUID
    type: str
    reason: str
    quarantined_at: datetime


def page(cursor: Cursor[Any], instance: str | None, after: int, limit: int) -> list[SetAside]:
    """The next behind a position, in the order of the log; of all instances when none is named."""
    parameters = {"instance": instance, "after": after, "limit": limit}
    cursor.execute(_queries.page, parameters)
    return [SetAside(*row) for row in cursor.fetchall()]


def of_stream(cursor: Cursor[Any], projection: str, stream: UUID) -> list[SetAside]:
    """What one frozen stream holds, oldest first."""
    cursor.execute(_queries.of_stream, {"projection": projection, "stream": stream})
    return [SetAside(*row) for row in cursor.fetchall()]


def stream_at(cursor: Cursor[Any], projection: str, position: int) -> tuple[str, UUID] | None:
    """Instance and stream of what is set aside at a position; None when nothing is."""
    cursor.execute(_queries.stream_at, {"projection": projection, "position": position})
    row = cursor.fetchone()
    return (row[0], row[1]) if row else None


def take_out(cursor: Cursor[Any], projection: str, positions: Sequence[int]) -> None:
    cursor.execute(_queries.take_out, {"projection": projection, "positions": list(positions)})


def set_aside(cursor: Cursor[Any], projection: str, poisons: Sequence[Poison], now: datetime) -> None:
    if poisons:
        cursor.execute(
            _queries.insert,
            {
                "projection": projection,
                "positions": [poison.event.position for poison in poisons],
                "streams": [poison.event.stream for poison in poisons],
                "instances": [poison.event.instance for poison in poisons],
                "reasons": [poison.reason for poison in poisons],
                "now": now,
            },
        )
