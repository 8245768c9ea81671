"""The two databases of the contract suite: the real one, and the simulation's model of it."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

import pytest

from benchmarks.simulated.model import KEY, Calm, ModelDatabase, ModelLog
from benchmarks.simulated.tables import Tables
from event_log.database import Database
from event_log.log import Log
from event_log.sql import load
from tests.swept import swept_database


class Place:
    """One of the two, with what a test needs around it."""

    def __init__(self, log: Any, name: str) -> None:
        self.log = log
        self.name = name

    def now(self) -> datetime:
        """The database's clock."""
        with self.log.database.connection() as connection:
            cursor = connection.cursor()
            cursor.execute(_NOW)
            now: datetime = cursor.fetchone()[0]
            return now


_NOW = load("event_log", "intake.sql").now


@pytest.fixture
def conninfo(server: str, template: str) -> str:
    return swept_database(server, template)


def model_place() -> Place:
    tables = Tables(lambda: 1000.0)
    return Place(ModelLog(ModelDatabase(tables, Calm(), lambda: 1000.0), os.urandom), "model")


@pytest.fixture
def real_place(database: Database) -> Place:
    return Place(Log(database, KEY, os.urandom), "postgres")


@pytest.fixture(params=["postgres", "model"])
def place(request: pytest.FixtureRequest) -> Place:
    return request.getfixturevalue("real_place") if request.param == "postgres" else model_place()
