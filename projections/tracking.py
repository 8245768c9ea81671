"""How far each projection has come; moved in the transaction that stores its effect."""

from __future__ import annotations

from typing import Any

from psycopg import Cursor

from event_log.errors import LostRace
from event_log.sql import load

_queries = load("projections", "tracking.sql")


def position(cursor: Cursor[Any], projection: str) -> int:
    """The last position the projection has finished, 0 before the first."""
    cursor.execute(_queries.position, {"projection": projection}, prepare=True)
    row = cursor.fetchone()
    return row[0] if row else 0


def advance(cursor: Cursor[Any], projection: str, since: int, to: int) -> None:
    """Raises LostRace when another process has moved it meanwhile: its effect stands, ours is undone."""
    if since == 0:
        cursor.execute(_queries.begin, {"projection": projection})
    cursor.execute(_queries.advance, {"projection": projection, "since": since, "to": to}, prepare=True)
    if cursor.fetchone() is None:
        raise LostRace(f"another process is running the projection {projection}")


def positions(cursor: Cursor[Any]) -> dict[str, int]:
    cursor.execute(_queries.positions)
    return dict(cursor.fetchall())


def try_to_lead(cursor: Cursor[Any], projection: str) -> bool:
    """Whether this transaction is now the one that runs the projection, for as long as it lasts."""
    cursor.execute(_queries.try_to_lead, {"projection": f"tidings projection {projection}"})
    row = cursor.fetchone()
    return bool(row and row[0])
