"""The table beside the one in use: made like it, filled out of sight, put in its place at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from projections.rebuilding.new_version import about, queries


def beside(table: str) -> str:
    """Name of the table that is filled; one of that name is a left-over of a rebuild that was killed."""
    return f"{table}_rebuild"


@contextmanager
def new_table(connection: Connection[TupleRow], table: str) -> Iterator[None]:
    """An empty table like ``table`` in all but its name, gone again when it has not taken its place."""
    new = beside(table)
    with connection.transaction():
        _drop(connection, new)
        connection.execute(about(queries.create_like, table=table, new=new))
        _execute_all(connection, queries.likeness, table)
    try:
        yield
    finally:
        if not connection.closed:
            _drop(connection, new)


def _drop(connection: Connection[TupleRow], table: str) -> None:
    connection.execute(about(queries.drop, table=table))


def make_findable(connection: Connection[TupleRow], table: str) -> None:
    """Make the indexes that filling had no need of, and let the planner know the new rows."""
    _execute_all(connection, queries.other_indexes, table)
    connection.execute(about(queries.analyze, new=beside(table)))


def _execute_all(connection: Connection[TupleRow], query: str, table: str) -> None:
    """The statements that the query gives."""
    for (statement,) in connection.execute(query, {"table": table, "new": beside(table)}).fetchall():
        connection.execute(statement)


def count(connection: Connection[TupleRow], table: str) -> int:
    row = connection.execute(about(queries.count, table=table)).fetchone()
    assert row is not None
    return int(row[0])


def wait_at_most(cursor: Cursor[Any], milliseconds: int) -> None:
    """For each lock, until the transaction ends."""
    cursor.execute(queries.wait_at_most, {"milliseconds": milliseconds})


def calm(cursor: Cursor[Any], table: str) -> None:
    """Keep vacuum away from both tables; readers and writers go on."""
    cursor.execute(about(queries.calm, table=table, new=beside(table)))


def close(cursor: Cursor[Any], table: str) -> None:
    """Keep everybody away from both tables."""
    cursor.execute(about(queries.close, table=table, new=beside(table)))


def swap(cursor: Cursor[Any], table: str) -> None:
    """Put the new table in the place of the old one, with the names that its indexes had."""
    new = beside(table)
    cursor.execute(queries.index_names, {"table": table, "new": new})
    names = cursor.fetchall()
    cursor.execute(about(queries.drop, table=table))
    cursor.execute(about(queries.rename, new=new, table=table))
    for filled, live in names:
        cursor.execute(about(queries.rename_index, new=filled, name=live))
