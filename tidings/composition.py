"""Builds what processes and commands share: the database, the log, the deployment's key."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

from event_log.database import Database
from event_log.deployment_key import DeploymentKey
from event_log.log import Log
from event_log.migrations import migrate
from tidings.errors import SettingsInvalid, TidingsError
from tidings.postgres.use import embedded_postgres
from tidings.secret_key import secret_key_text
from tidings.settings import Settings

Report: TypeAlias = Callable[[str], None]
"""Takes one line of progress, for a person."""

_logger = logging.getLogger(__name__)
_HERE = Path(__file__).parent


def clock() -> datetime:
    return datetime.now(UTC)


def quiet(_: str) -> None:
    pass


@contextmanager
def database_address(settings: Settings, report: Report, *, wait_for_stop: bool = False) -> Iterator[str]:
    """The configured server's address, or the embedded one's for as long as it is held."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    with embedded_postgres(
        settings.data_dir,
        report=lambda phase: report(f"PostgreSQL: {phase}"),
        binaries=settings.postgres_bin,
        wait_for_stop=wait_for_stop,
    ) as address:
        yield address


def migrations_directory() -> Path:
    """In the source tree beside the packages, in a wheel inside this one."""
    candidates = (_HERE / "migrations", _HERE.parent / "migrations")
    found = next((directory for directory in candidates if directory.is_dir()), None)
    if found is None:
        raise TidingsError("the migrations are missing from this installation; install it again")
    return found


def bring_up_to_date(settings: Settings, address: str, report: Report) -> list[str]:
    """The names of the migrations applied now."""
    return migrate(address, migrations_directory(), role=settings.database_role, report=report)


def deployment_key(settings: Settings) -> DeploymentKey:
    try:
        return DeploymentKey.from_text(secret_key_text(settings))
    except ValueError as error:
        raise SettingsInvalid([f"secret_key: {error}"]) from None


@contextmanager
def open_log(
    settings: Settings,
    address: str,
    process: str,
    connections: int = 4,
    statement_limit: timedelta = timedelta(),
) -> Iterator[Log]:
    """The log of a database that is up to date; a limit of 0 is none."""
    database = Database(
        address,
        role=settings.database_role,
        max_size=connections,
        application_name=f"tidings {process}",
        statement_limit=statement_limit,
    )
    try:
        log = Log(database, deployment_key(settings), os.urandom)
        log.open()
        yield log
    finally:
        database.close()


@contextmanager
def owners_log(settings: Settings, process: str, report: Report = quiet) -> Iterator[Log]:
    """The log as the owner of its tables, for the one who rebuilds them."""
    with database_address(settings, report) as address:
        bring_up_to_date(settings, address, report)
        with open_log(settings.model_copy(update={"database_role": ""}), address, process) as log:
            yield log


@contextmanager
def process_log(
    settings: Settings, process: str, connections: int, statement_limit: timedelta = timedelta()
) -> Iterator[Log]:
    """The log for a long-running process. Only our own embedded server is migrated by the way."""
    with database_address(settings, _logger.info) as address:
        if settings.database_url is None:
            bring_up_to_date(settings, address, _logger.info)
        with open_log(settings, address, process, connections, statement_limit) as log:
            yield log


@contextmanager
def prepared_log(settings: Settings, process: str, report: Report = quiet) -> Iterator[Log]:
    """The log, with a server started and migrations applied where that is still to be done."""
    with database_address(settings, report) as address:
        bring_up_to_date(settings, address, report)
        with open_log(settings, address, process) as log:
            yield log
