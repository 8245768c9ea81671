from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.parity.breaking import Seen, survivors
from tests.parity.rows import ROOT, Half, Row, file_and_name, halves, marked_tests, read_half

FILES = sorted(Path(__file__).parent.glob("*.toml"))
ROWS = [row for half in halves() for row in half.row]
BREAKAGES = [one for half in halves() for one in half.breakage]


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def half(request: pytest.FixtureRequest) -> Half:
    return read_half(request.param)


def test_every_row_appears_once(half: Half) -> None:
    assert Counter(row.id for row in half.row) == Counter(half.expected_ids())
    assert {row.section for row in half.row} <= half.sections.keys()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row_is_tested_and_broken_or_says_why_not(row: Row) -> None:
    ways = [bool(row.tests and row.breakages), bool(row.untested), bool(row.later)]
    assert ways.count(True) == 1, "tests and breakages, or untested, or later"
    assert bool(row.tests) == bool(row.breakages)
    assert row.says or row.later
    assert set(row.breakages) <= {one.name for one in BREAKAGES}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_every_test_of_a_row_exists_and_carries_its_marker(row: Row) -> None:
    for test in row.tests:
        file, name = file_and_name(test)
        assert row.id in marked_tests(ROOT / file)[name], test


def test_every_marker_is_in_the_document() -> None:
    listed = {(*file_and_name(test), row.id) for row in ROWS for test in row.tests}
    for file in (ROOT / "tests").rglob("test_*.py"):
        where = file.relative_to(ROOT).as_posix()
        marked = {(where, name, one) for name, ids in marked_tests(file).items() for one in ids}
        assert marked <= listed, f"not in tests/parity/*.toml: {sorted(marked - listed)}"


def test_every_breakage_fits_the_code_and_is_used() -> None:
    assert len({one.name for one in BREAKAGES}) == len(BREAKAGES)
    assert {one.name for one in BREAKAGES} == {name for row in ROWS for name in row.breakages}
    for one in BREAKAGES:
        assert (ROOT / one.file).read_text().count(one.old) == 1, f"{one.name} does not fit {one.file}"
        assert one.old != one.new, one.name


def test_the_document_is_written_from_the_rows() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / "parity"), "--check"], check=False)
    assert done.returncode == 0, "docs/parity.md is stale: run scripts/parity --write"


@pytest.mark.parametrize(
    ("failed", "complaints"),
    [
        ({"all": {"a", "b"}, "some": {"b"}}, []),
        ({"all": {"a"}, "some": {"b"}}, []),
        ({"all": {"a", "b"}, "some": set()}, ["NOBODY NOTICES some"]),
        ({"all": {"a"}, "some": {"a"}}, ["NEVER FAILS tests/x.py::b"]),
    ],
)
def test_a_row_is_content_when_breakages_and_tests_meet(
    failed: dict[str, set[str]], complaints: list[str]
) -> None:
    row = Row("S1.1", tests=("tests/x.py::a[1]", "tests/x.py::b"), breakages=("all", "some"))
    seen = {
        name: Seen(name, frozenset(), frozenset(f"tests/x.py::{test}" for test in tests))
        for name, tests in failed.items()
    }
    assert list(survivors(row, seen)) == complaints
