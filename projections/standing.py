"""How things stand: what operators watch, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from psycopg import Connection
from psycopg.rows import TupleRow

from event_log.sql import load
from projections import give_ups

_queries = load("projections", "standing.sql")

TABLES = (
    "events",
    "tracking",
    "api_keys",
    "secrets",
    "due_notifications",
    "recipients",
    "notifications",
    "delivery_pauses",
    "account_pauses",
    "give_up_hook",
)


class Standing(msgspec.Struct, frozen=True):
    head: int
    """The log's last position."""
    positions: dict[str, int]
    """How far each projection has come."""
    open_notifications: int
    due: int
    oldest_due: float
    """Seconds since the longest waiting due notification became due."""
    quarantined: int
    give_up_hook: give_ups.Standing | None


def standing(connection: Connection[TupleRow], now: datetime) -> Standing:
    due, oldest_due = _row(connection, _queries.due, {"now": now})
    return Standing(
        head=_row(connection, _queries.head)[0],
        positions=dict(connection.execute(_queries.projections).fetchall()),
        open_notifications=_row(connection, _queries.open)[0],
        due=due,
        oldest_due=oldest_due,
        quarantined=_row(connection, _queries.quarantined)[0],
        give_up_hook=give_ups.standing(connection, now),
    )


def missing_tables(connection: Connection[TupleRow], tables: Sequence[str] = TABLES) -> list[str]:
    """Tables that migrations have still to make."""
    return [name for (name,) in connection.execute(_queries.missing_tables, {"tables": list(tables)})]


def _row(
    connection: Connection[TupleRow], statement: str, parameters: dict[str, Any] | None = None
) -> TupleRow:
    row = connection.execute(statement, parameters).fetchone()
    assert row is not None
    return row
