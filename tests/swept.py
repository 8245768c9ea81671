"""A migrated database that is emptied before each test: making a fresh one would take most of the time."""

from __future__ import annotations

import os

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

_made: dict[str, str] = {}


def swept_database(server: str, template: str) -> str:
    """Conninfo, as the owner; every test of this process that asks gets the same database."""
    if server not in _made:
        name = f"swept_{os.getpid()}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
        _made[server] = make_conninfo(server, dbname=name)
    _sweep(_made[server])
    return _made[server]


def _sweep(conninfo: str) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
            " AND relname <> 'schema_migrations'"
        ).fetchall()
        for (table,) in tables:
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
        connection.execute("ALTER SEQUENCE events_notification_id_seq RESTART")
