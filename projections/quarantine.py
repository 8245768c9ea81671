"""Events no code could digest: set aside with the reason, their stream frozen, the others go on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg import Cursor

from event_log.envelope import RecordedEvent
from event_log.sql import load

_queries = load("projections", "quarantine.sql")


class Poison(msgspec.Struct, frozen=True):
    event: RecordedEvent
    reason: str


def frozen(cursor: Cursor[Any], projection: str, streams: Iterable[UUID]) -> set[UUID]:
    """Which of these streams wait for a person, because an earlier event of theirs is quarantined."""
    cursor.execute(_queries.frozen, {"projection": projection, "streams": list(set(streams))}, prepare=True)
    return {stream for (stream,) in cursor.fetchall()}


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
