"""Applies ``NNNN_name.sql`` files in order, each in a transaction of its own, once and for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from event_log.errors import LogUnavailable, MigrationFailed
from event_log.sql import load

_queries = load("event_log", "migrations.sql")
_LOCK = 0x7469_6469
"""One migration run at a time, whoever starts it."""


def migrate(
    conninfo: str,
    directory: Path,
    *,
    role: str = "tidings_app",
    report: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Bring the database up to date as its owner; the names of the migrations applied now.

    Creates ``role``, which may read and append only. Raises MigrationFailed when a file that was
    applied has changed or a statement fails, and LogUnavailable when nothing answers.
    """
    try:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(_queries.lock, {"key": _LOCK})
            _ensure_role(connection, role)
            connection.execute(_queries.create_migrations)
            return _apply(connection, directory, role, report)
    except psycopg.errors.InsufficientPrivilege as error:
        raise MigrationFailed(f"the user that connects lacks a right: {error}") from error
    except psycopg.OperationalError as error:
        raise LogUnavailable(str(error).strip()) from error


def _ensure_role(connection: psycopg.Connection[TupleRow], role: str) -> None:
    name = sql.Identifier(role)
    try:
        if connection.execute(_queries.role_exists, {"role": role}).fetchone() is None:
            _create_role(connection, name)
        if not connection.execute(_queries.may_become, {"role": role}).fetchone():
            connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(name))
    except psycopg.errors.InsufficientPrivilege as error:
        raise MigrationFailed(
            f"the role {role} may not be made or not be used: let an administrator run "
            f"CREATE ROLE {role} NOLOGIN and GRANT it to the user that connects."
        ) from error


def _create_role(connection: psycopg.Connection[TupleRow], name: sql.Identifier) -> None:
    # Another database of this cluster may be migrated at the same moment.
    with suppress(psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
        connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(name))


def _apply(
    connection: psycopg.Connection[TupleRow],
    directory: Path,
    role: str,
    report: Callable[[str], None],
) -> list[str]:
    applied = dict(cast("list[tuple[str, bytes]]", connection.execute(_queries.applied).fetchall()))
    now: list[str] = []
    for file in sorted(directory.glob("[0-9]*.sql")):
        text = file.read_text()
        checksum = hashlib.sha256(text.encode()).digest()
        if file.stem not in applied:
            report(f"applying {file.stem}")
            _run(connection, file.stem, text.replace("tidings_app", role), checksum)
            now.append(file.stem)
        elif bytes(applied[file.stem]) != checksum:
            raise MigrationFailed(f"{file.name} was changed after it had been applied: restore the file.")
    return now


def _run(connection: psycopg.Connection[TupleRow], name: str, text: str, checksum: bytes) -> None:
    try:
        with connection.transaction():
            connection.execute(text)
            connection.execute(_queries.record, {"name": name, "checksum": checksum})
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        raise MigrationFailed(f"{name}: {error}") from error
