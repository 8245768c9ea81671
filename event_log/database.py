"""A pool of connections to one PostgreSQL, as a role that may read and append, never rewrite."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import eventsourcing.postgres as es
import psycopg
import psycopg_pool
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow, dict_row, tuple_row
from psycopg_pool import PoolTimeout

from event_log import columns
from event_log.errors import DatabaseUnusable, LogUnavailable
from event_log.sql import load

_queries = load("event_log", "database.sql")

LogCursor: TypeAlias = psycopg.Cursor[Any]
"""How rooms that do not speak SQL name what they hand on."""

OLDEST_SERVER = 150000
IDLE_IN_TRANSACTION_SECONDS = 5.0
"""A frozen writer that holds the append lock blocks everyone for this long at most."""

_PROBE_SECONDS = 5
_LONG = 0.5
"""Seconds; a connection that lay idle for longer is asked whether it still answers before it is used."""
_RECONNECT_PAUSE = 0.2

_UNAVAILABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.InternalError,
    PoolTimeout,
)


class Database:
    """Connections for one process. ``role`` is what every statement runs as, empty for the owner.

    A ``statement_limit`` above 0 ends statements that take longer; their transaction is rolled back.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        role: str = "tidings_app",
        max_size: int = 4,
        application_name: str = "tidings",
        connect_timeout: float = 10.0,
        statement_limit: timedelta = timedelta(),
    ) -> None:
        self.conninfo = conninfo
        self.role = role
        self.datastore = _Datastore(conninfo, role, max_size, application_name, connect_timeout)
        self.datastore.statement_limit = statement_limit

    def open(self) -> None:
        """Connect and refuse a server that could lose or rewrite what we promise to keep.

        Raises DatabaseUnusable with what to do, or LogUnavailable when nothing answers.
        """
        obstacle = self._obstacle()
        try:
            with self.connection() as connection:
                _check_server(connection)
                if self.role:
                    _check_rights(connection, self.role)
        except LogUnavailable as error:
            raise LogUnavailable(obstacle or str(error)) from error

    def _obstacle(self) -> str:
        """Why a connection cannot be made just now: the pool would only tell how long it tried."""
        try:
            with psycopg.connect(**self.datastore.probing) as connection:
                self.datastore.after_connect_func()(connection)
        except psycopg.errors.InvalidParameterValue as error:
            raise DatabaseUnusable(f"{str(error).strip()}: run `tidings migrate`.") from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise DatabaseUnusable(f"the user that connects lacks a right: {error}") from error
        except psycopg.Error as error:
            return _in_a_line(error)
        return ""

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[TupleRow]]:
        """An autocommit connection; what the network or the server does to it is LogUnavailable."""
        try:
            with self.datastore.alive() as connection:
                connection.row_factory = tuple_row
                try:
                    yield connection
                finally:
                    connection.row_factory = dict_row
        except psycopg.errors.InsufficientPrivilege as error:
            raise DatabaseUnusable(f"the role lacks a right: {error}") from error
        except _UNAVAILABLE as error:
            raise LogUnavailable(_in_a_line(error)) from error

    def close(self) -> None:
        self.datastore.close()


class _Reconnecting:
    """Connects again soon after the server is back: the pool's own pauses double without a bound.

    So it gives up after one pause, and is asked for another connection in place of the one it gave up.
    """

    def __init__(self) -> None:
        self._asking = threading.Lock()

    def __call__(self, pool: psycopg_pool.ConnectionPool[Any]) -> None:
        with self._asking:
            pool.resize(0, pool.max_size)
            pool.resize(1, pool.max_size)


class _Datastore(es.PostgresDatastore):
    """The library's datastore, built from a conninfo string and switched to our role."""

    statement_limit = timedelta()

    def __init__(
        self, conninfo: str, role: str, max_size: int, application_name: str, connect_timeout: float
    ) -> None:
        given = conninfo_to_dict(conninfo)
        self._role = role
        super().__init__(
            dbname=str(given.pop("dbname", "")),
            host=str(given.pop("host", "")),
            port=str(given.pop("port", "")),
            user=str(given.pop("user", "")),
            password=str(given.pop("password", "")),
            connect_timeout=connect_timeout,
            idle_in_transaction_session_timeout=IDLE_IN_TRANSACTION_SECONDS,
            pool_size=1,
            max_overflow=max_size - 1,
        )
        kwargs = self.pool.kwargs
        assert isinstance(kwargs, dict)
        kept: dict[str, Any] = {name: value for name, value in kwargs.items() if value != ""}
        parameters = kept | given | {"application_name": application_name}
        self.pool = es.ConnectionPool(
            kwargs=parameters,
            min_size=1,
            max_size=max_size,
            open=False,
            configure=self.after_connect_func(),
            timeout=connect_timeout,
            reconnect_timeout=_RECONNECT_PAUSE,
            reconnect_failed=_Reconnecting(),
        )
        self._used: WeakKeyDictionary[psycopg.Connection[Any], float] = WeakKeyDictionary()
        """When each was last used without an error."""
        self.probing = {"connect_timeout": _PROBE_SECONDS} | parameters

    def _works(self, connection: psycopg.Connection[Any]) -> bool:
        lately = time.monotonic() - self._used.get(connection, -_LONG) < _LONG
        return (lately and not _has_news(connection)) or _answers(connection)

    @contextmanager
    def alive(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection that answered a moment ago; those that broke while they lay idle are replaced."""
        self.pool.open()
        connection = self.pool.getconn()
        while not self._works(connection):
            # The library's own check would pause longer with each broken one it meets.
            self.pool.putconn(connection)
            connection = self.pool.getconn()
        try:
            with connection:
                yield connection
            self._used[connection] = time.monotonic()
        finally:
            self.pool.putconn(connection)

    def register_type_adapters(self) -> None:
        """They are for the library's own inserts; without them building a recorder connects to nothing."""

    def after_connect_func(self) -> Callable[[psycopg.Connection[Any]], None]:
        limit_idleness = super().after_connect_func()
        role = self._role

        def after_connect(connection: psycopg.Connection[Any]) -> None:
            limit_idleness(connection)
            columns.register(connection)
            if limit := self.statement_limit // timedelta(milliseconds=1):
                connection.execute(sql.SQL("SET statement_timeout = {}").format(limit))
            if role:
                connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))

        return after_connect


def _has_news(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server has said something unasked, such as that it ends the connection."""
    if connection.closed:
        return True
    heard = select.poll()
    heard.register(connection.fileno(), select.POLLIN)
    return bool(heard.poll(0))


def _in_a_line(error: Exception) -> str:
    """What happened; the advice that the driver gives below that is for whoever wrote the program."""
    return str(error).strip().partition("\n")[0]


def _answers(connection: psycopg.Connection[Any]) -> bool:
    try:
        es.ConnectionPool.check_connection(connection)
    except psycopg.Error:
        return False
    return True


def _check_server(connection: psycopg.Connection[TupleRow]) -> None:
    if connection.info.server_version < OLDEST_SERVER:
        raise DatabaseUnusable("PostgreSQL 15 or later is needed; this server is older.")
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        row = connection.execute(_queries.setting, {"name": setting}).fetchone()
        if row is not None and row[0] == "off":
            raise DatabaseUnusable(
                f"{setting} is off on this server, so a crash could lose accepted events: turn it on."
            )


def _check_rights(connection: psycopg.Connection[TupleRow], role: str) -> None:
    row = connection.execute(_queries.rights_on_the_log).fetchone()
    if row is None or row[0] is None:
        raise DatabaseUnusable("the database has no log yet: run `tidings migrate`.")
    may_append, may_rewrite = row
    if not may_append or may_rewrite:
        raise DatabaseUnusable(
            f"the role {role} must be able to append to the log and never to rewrite it: "
            "grant it SELECT and INSERT on events and nothing more (`tidings migrate` does)."
        )
