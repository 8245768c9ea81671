"""A log in a PostgreSQL of its own, which is removed afterwards; no processes of Tidings beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import psycopg

from event_log import columns
from event_log.log import Log
from tidings.composition import bring_up_to_date, open_log, quiet
from tidings.postgres.use import embedded_postgres
from tidings.settings import Settings

Owner: TypeAlias = psycopg.Connection[Any]
"""An autocommit connection that may do everything."""


class OwnLog(msgspec.Struct, frozen=True):
    data: Path
    conninfo: str
    log: Log
    owner: Owner

    def count(self, query: str) -> int:
        row = self.owner.execute(query.encode()).fetchone()
        assert row
        return int(row[0])


@contextmanager
def own_server() -> Iterator[tuple[Path, str]]:
    """A data directory, and the address of the server in it."""
    with tempfile.TemporaryDirectory(prefix="tidings-bench-") as directory:
        data = Path(directory)
        with embedded_postgres(data, wait_for_stop=True) as conninfo:
            yield data, conninfo


@contextmanager
def log_at(data: Path, conninfo: str, *, as_owner: bool = False) -> Iterator[OwnLog]:
    """The log in that database, brought up to date; as its owner where tables are rebuilt."""
    settings = Settings(data_dir=data)
    bring_up_to_date(settings, conninfo, quiet)
    if as_owner:
        settings = settings.model_copy(update={"database_role": ""})
    with (
        open_log(settings, conninfo, "bench") as log,
        psycopg.connect(conninfo, autocommit=True) as owner,
    ):
        columns.register(owner)
        yield OwnLog(data, conninfo, log, owner)


@contextmanager
def own_log(*, as_owner: bool = False) -> Iterator[OwnLog]:
    with own_server() as (data, conninfo), log_at(data, conninfo, as_owner=as_owner) as made:
        yield made
