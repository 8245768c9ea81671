"""The database as the owner has it: rebuilds run so, and tests look and damage so."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest

from event_log.database import Database
from event_log.deployment_key import DeploymentKey
from event_log.log import Log
from tests.projections.rebuild_story import Owner


@pytest.fixture
def owning(conninfo: str, key: DeploymentKey) -> Iterator[Log]:
    """The log as a rebuild opens it."""
    database = Database(conninfo, role="")
    database.open()
    yield Log(database, key, os.urandom)
    database.close()


@pytest.fixture
def owner(conninfo: str) -> Iterator[Owner]:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        yield connection
