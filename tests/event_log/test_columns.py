"""Lists of plain values reach PostgreSQL as they are, whatever stands in them."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from event_log.log import Log

TEXTS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)))
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001  # given below
COLUMNS = st.one_of(
    st.tuples(st.just("uuid"), st.lists(st.uuids() | st.none())),
    st.tuples(st.just("text"), st.lists(TEXTS | st.none())),
    st.tuples(st.just("bytea"), st.lists(st.binary() | st.none())),
    st.tuples(st.just("bigint"), st.lists(st.integers(-(2**63), 2**63 - 1) | st.none())),
    st.tuples(st.just("smallint"), st.lists(st.integers(-(2**15), 2**15 - 1) | st.none())),
    st.tuples(st.just("boolean"), st.lists(st.booleans() | st.none())),
    st.tuples(st.just("timestamptz"), st.lists(MOMENTS | st.none())),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(column=COLUMNS)
def test_a_column_comes_back_as_it_went(log: Log, column: tuple[str, list[Any]]) -> None:
    kind, values = column
    with log.database.connection() as connection:
        rows = connection.execute(f"SELECT value FROM unnest(%s::{kind}[]) AS value", [values]).fetchall()
    assert [value for (value,) in rows] == values


def test_lists_of_other_things_go_the_librarys_way(log: Log) -> None:
    with log.database.connection() as connection:
        (row,) = connection.execute("SELECT %s::float8[], %s::int[]", [[0.5, None], [[1], [2]]]).fetchall()
    assert row == ([0.5, None], [[1], [2]])


def test_a_number_too_large_for_its_column_is_refused(log: Log) -> None:
    with (
        log.database.connection() as connection,
        pytest.raises(struct.error),
    ):
        connection.execute("SELECT %s::bigint[]", [[2**63]])
