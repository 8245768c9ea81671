from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from event_log.database import Database
from event_log.errors import LogUnavailable, MigrationFailed
from event_log.migrations import migrate

FILES = {
    "0001_first.sql": "CREATE TABLE first (n int); GRANT SELECT ON first TO tidings_app;",
    "0002_second.sql": "CREATE TABLE second (n int); INSERT INTO second VALUES (2);",
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_files_are_applied_in_order_and_reported_when_they_are_new(
    empty_database: str, directory: Path
) -> None:
    lines: list[str] = []
    assert migrate(empty_database, directory, report=lines.append) == ["0001_first", "0002_second"]
    assert lines == ["applying 0001_first", "applying 0002_second"]


def test_nothing_happens_when_everything_was_applied(empty_database: str, directory: Path) -> None:
    migrate(empty_database, directory)
    assert migrate(empty_database, directory) == []


def test_only_what_is_new_is_applied(empty_database: str, directory: Path) -> None:
    migrate(empty_database, directory)
    (directory / "0003_third.sql").write_text("CREATE TABLE third (n int)")
    assert migrate(empty_database, directory) == ["0003_third"]


def test_a_file_is_refused_when_it_has_changed_since_it_was_applied(
    empty_database: str, directory: Path
) -> None:
    migrate(empty_database, directory)
    (directory / "0001_first.sql").write_text("CREATE TABLE first (n bigint)")
    (directory / "0003_third.sql").write_text("CREATE TABLE third (n int)")
    with pytest.raises(MigrationFailed, match=r"0001_first\.sql was changed"):
        migrate(empty_database, directory)
    assert _tables(empty_database) == {"first", "second", "schema_migrations"}


def test_a_failing_file_leaves_nothing_behind_and_names_itself(empty_database: str, directory: Path) -> None:
    (directory / "0003_third.sql").write_text("CREATE TABLE third (n int); SELECT 1 / 0;")
    with pytest.raises(MigrationFailed, match="0003_third: division by zero"):
        migrate(empty_database, directory)
    assert _tables(empty_database) == {"first", "second", "schema_migrations"}
    (directory / "0003_third.sql").write_text("CREATE TABLE third (n int)")
    assert migrate(empty_database, directory) == ["0003_third"]


def test_each_file_is_applied_once_when_many_run_at_the_same_time(
    empty_database: str, directory: Path
) -> None:
    applied: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: applied.append(migrate(empty_database, directory))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(applied) == [[], [], [], ["0001_first", "0002_second"]]


@pytest.fixture
def new_role(server: str) -> Iterator[str]:
    yield "tidings_other"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS tidings_other")


@pytest.fixture
def database_of_new_role(new_role: str, empty_database: str) -> Iterator[str]:
    yield empty_database
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {new_role}")


def test_another_role_is_made_and_may_append_only(database_of_new_role: str, new_role: str) -> None:
    migrations = Path(__file__).parents[2] / "migrations"
    migrate(database_of_new_role, migrations, role=new_role)
    database = Database(database_of_new_role, role=new_role)
    try:
        database.open()
        with database.connection() as connection:
            assert connection.execute("SELECT current_user").fetchone() == (new_role,)
    finally:
        database.close()
    # The text that was applied differs by the role's name, the file does not.
    assert migrate(database_of_new_role, migrations, role=new_role) == []


@pytest.fixture
def humble_user(server: str, empty_database: str) -> Iterator[str]:
    """Conninfo of a user who owns the database and may create no roles."""
    name = psycopg.conninfo.conninfo_to_dict(empty_database)["dbname"]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE ROLE humble LOGIN")
        connection.execute(f"ALTER DATABASE {name} OWNER TO humble")
        yield make_conninfo(empty_database, user="humble")
        connection.execute(f"ALTER DATABASE {name} OWNER TO CURRENT_USER")
        connection.execute("DROP ROLE humble")


def test_it_is_said_what_an_administrator_must_do_when_the_role_may_not_be_made(
    humble_user: str, directory: Path
) -> None:
    with pytest.raises(MigrationFailed, match="CREATE ROLE missing_role NOLOGIN and GRANT it"):
        migrate(humble_user, directory, role="missing_role")


def test_it_is_said_what_an_administrator_must_do_when_the_role_may_not_be_granted(
    humble_user: str, template: str, directory: Path
) -> None:
    assert template  # with which the role was made, by somebody else
    with pytest.raises(MigrationFailed, match="GRANT it to the user"):
        migrate(humble_user, directory)


def test_it_is_said_that_nothing_answers_when_the_server_is_away(
    empty_database: str, directory: Path
) -> None:
    with pytest.raises(LogUnavailable):
        migrate(make_conninfo(empty_database, host="/nonexistent"), directory)


def _tables(conninfo: str) -> set[str]:
    with psycopg.connect(conninfo) as connection:
        rows = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        )
        return {name for (name,) in rows}
