from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from event_log.database import IDLE_IN_TRANSACTION_SECONDS, Database
from event_log.deployment_key import DeploymentKey
from event_log.errors import DatabaseUnusable, LogUnavailable
from event_log.intake import CallerEvent, append
from event_log.log import Log, read_stream
from event_log.recorder import APPEND_LOCK
from notification_domain.identity import stream_id
from tests.event_log.waiting import wait_until

EVENT = CallerEvent(source="s", id="1", type="x.y", subject="user/1")


@contextmanager
def opened(conninfo: str, role: str = "tidings_app", connect_timeout: float = 10.0) -> Iterator[Database]:
    database = Database(conninfo, role=role, connect_timeout=connect_timeout)
    try:
        database.open()
        yield database
    finally:
        database.close()


def owner_does(conninfo: str, statement: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(statement.encode())


def test_every_statement_runs_as_the_restricted_role(database: Database) -> None:
    with database.connection() as connection:
        row = connection.execute("SELECT current_user, current_setting('application_name')").fetchone()
    assert row == ("tidings_app", "tidings")


@pytest.mark.parametrize(
    "grant",
    [
        "GRANT UPDATE ON events TO tidings_app",
        "GRANT DELETE ON events TO tidings_app",
        "GRANT TRUNCATE ON events TO tidings_app",
        "GRANT UPDATE (state) ON events TO tidings_app",
        "ALTER TABLE events OWNER TO tidings_app",
    ],
)
def test_start_is_refused_when_the_role_may_rewrite_the_log(conninfo: str, grant: str) -> None:
    owner_does(conninfo, grant)
    with pytest.raises(DatabaseUnusable, match="never to rewrite"), opened(conninfo):
        pass


def test_start_is_refused_when_the_role_may_not_append(conninfo: str) -> None:
    owner_does(conninfo, "REVOKE INSERT ON events FROM tidings_app")
    with pytest.raises(DatabaseUnusable, match="able to append"), opened(conninfo):
        pass


def test_start_is_refused_when_there_is_no_log_yet(empty_database: str, template: str) -> None:
    assert template  # the role is there, made with the template
    with pytest.raises(DatabaseUnusable, match="tidings migrate"), opened(empty_database):
        pass


def test_start_is_refused_when_there_is_no_such_role(conninfo: str) -> None:
    with pytest.raises(DatabaseUnusable, match="nobody_here"), opened(conninfo, role="nobody_here"):
        pass


def test_start_is_refused_when_commits_are_not_waited_for(conninfo: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(name))
    with pytest.raises(DatabaseUnusable, match="synchronous_commit is off"), opened(conninfo):
        pass


@pytest.mark.parametrize("name", ["fsync", "full_page_writes"])
def test_start_is_refused_when_the_server_could_lose_commits(conninfo: str, name: str) -> None:
    """Neither can be set for one database: a function of that name stands before the real one."""
    owner_does(conninfo, "CREATE SCHEMA told; GRANT USAGE ON SCHEMA told TO tidings_app")
    owner_does(
        conninfo,
        "CREATE FUNCTION told.current_setting(name text) RETURNS text LANGUAGE sql AS "
        f"$$SELECT CASE name WHEN '{name}' THEN 'off' ELSE pg_catalog.current_setting(name) END$$",
    )
    careless = make_conninfo(conninfo, options="-c search_path=told,pg_catalog,public")
    with pytest.raises(DatabaseUnusable, match=f"{name} is off"), opened(careless):
        pass


def test_it_is_said_that_nothing_answers_when_the_server_is_away(conninfo: str) -> None:
    nowhere = make_conninfo(conninfo, host="/nonexistent")
    with pytest.raises(LogUnavailable, match="No such file"), opened(nowhere, connect_timeout=0.2):
        pass


def test_the_servers_own_reason_is_told_when_it_refuses(conninfo: str) -> None:
    unknown = make_conninfo(conninfo, dbname="no_such_database")
    with pytest.raises(LogUnavailable, match="no_such_database"), opened(unknown, connect_timeout=0.2):
        pass


def test_the_next_call_finds_its_way_when_all_connections_were_cut(log: Log, conninfo: str) -> None:
    append(log, "acme", [EVENT])
    _cut_all_connections(conninfo)
    assert len(read_stream(log, stream_id("acme", "user/1"))) == 1


def _cut_all_connections(conninfo: str) -> None:
    owner_does(
        conninfo,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )


def test_a_cut_in_the_middle_of_a_transaction_is_unavailability_and_nothing_is_stored(
    log: Log, conninfo: str
) -> None:
    with pytest.raises(LogUnavailable):
        _append_while_connections_are_cut(log, conninfo)
    assert isinstance(append(log, "acme", [EVENT]), tuple)


def _append_while_connections_are_cut(log: Log, conninfo: str) -> None:
    with log.appending() as transaction:
        transaction.versions([])
        _cut_all_connections(conninfo)
        transaction.versions([])


def test_an_append_gives_up_when_the_lock_is_not_to_be_had(log: Log, conninfo: str) -> None:
    with psycopg.connect(conninfo) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
        with pytest.raises(LogUnavailable, match="lock timeout"):
            append(log, "acme", [EVENT])
    assert isinstance(append(log, "acme", [EVENT]), tuple)


def test_reading_goes_on_when_a_writer_holds_the_lock(log: Log, conninfo: str) -> None:
    append(log, "acme", [EVENT])
    with psycopg.connect(conninfo) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
        assert len(read_stream(log, stream_id("acme", "user/1"))) == 1


@pytest.mark.timeout(30)
def test_a_frozen_writer_stops_the_others_for_a_few_seconds_only(log: Log) -> None:
    thawed = threading.Event()
    raised: list[BaseException] = []

    def freeze() -> None:
        try:
            with log.appending() as transaction:
                frozen.set()
                thawed.wait(20)
                transaction.versions([])
        except LogUnavailable as error:
            raised.append(error)

    frozen = threading.Event()
    writer = threading.Thread(target=freeze)
    writer.start()
    assert frozen.wait(5)
    wait_until(lambda: _appends(log), within=IDLE_IN_TRANSACTION_SECONDS + 2)
    thawed.set()
    writer.join()
    assert raised, "the frozen writer must learn that its transaction is gone"


def _appends(log: Log) -> bool:
    try:
        append(log, "acme", [EVENT])
    except LogUnavailable:
        return False
    return True


def test_times_rise_with_positions_when_writers_wait_for_each_other(log: Log, conninfo: str) -> None:
    threads = [threading.Thread(target=_append_ten(log, writer)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with psycopg.connect(conninfo) as connection:
        rows = connection.execute("SELECT recorded_at FROM events ORDER BY notification_id").fetchall()
    assert len(rows) == 40
    assert rows == sorted(rows)


def _append_ten(log: Log, writer: int) -> Callable[[], None]:
    def run() -> None:
        for number in range(10):
            append(
                log, "acme", [CallerEvent(source=f"w{writer}", id=f"{number}", type="x.y", subject="user/1")]
            )

    return run


def allow_connections(server: str, conninfo: str, *, allowed: bool) -> None:
    """To everybody, or to nobody: then those that stand are cut."""
    name = str(conninfo_to_dict(conninfo)["dbname"])
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
                sql.Identifier(name), sql.Literal(allowed)
            )
        )
        if not allowed:
            admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (name,)
            )


def ask(database: Database) -> object:
    with database.connection() as connection:
        return connection.execute("SELECT 1").fetchone()


def test_it_connects_again_soon_however_long_the_server_was_away(server: str, conninfo: str) -> None:
    """The pool's own pauses double: after four seconds away the next attempt would be seconds away."""
    with opened(conninfo, connect_timeout=0.5) as database:
        allow_connections(server, conninfo, allowed=False)
        for _ in range(8):
            with pytest.raises(LogUnavailable):
                ask(database)
        allow_connections(server, conninfo, allowed=True)
        assert ask(database) == (1,)


def test_everybody_who_waits_is_served_when_the_server_is_back(server: str, conninfo: str) -> None:
    with opened(conninfo) as database, ThreadPoolExecutor(4) as threads:
        allow_connections(server, conninfo, allowed=False)
        served = [threads.submit(ask, database) for _ in range(4)]
        wait_until(lambda: database.datastore.pool.get_stats().get("requests_waiting") == len(served))
        allow_connections(server, conninfo, allowed=True)
        assert [one.result(5) for one in served] == [(1,)] * 4


def test_nothing_is_connected_to_before_the_log_is_opened(key: DeploymentKey) -> None:
    """So that a connection that is cut at the start is told in our own words."""
    database = Database("host=127.0.0.1 port=9 dbname=nowhere", connect_timeout=0.5)
    try:
        log = Log(database, key, os.urandom)
        with pytest.raises(LogUnavailable):
            log.open()
    finally:
        database.close()
