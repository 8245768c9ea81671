"""Breaks the behaviour of each row in a copy of the tree and looks whether the row's tests notice."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TypeAlias

import msgspec

from tests.parity.rows import ROOT, Breakage, Row, file_and_name, halves

ROOMS = ("notification_domain", "event_log", "projections", "workers", "api", "tidings")
COLLECTION_FAILED = 2

Trees: TypeAlias = SimpleQueue[Path]
"""Copies that nobody works in."""

_VERDICT = re.compile(r"^(PASSED|FAILED|ERROR) (\S+?::\w+)", re.MULTILINE)
_REASON = re.compile(r"^/\S+/(\w+\.py:\d+: .*)$", re.MULTILINE)


class CannotBreak(Exception):
    """The copy does not behave as the tree does, so nothing it shows would count."""


class Seen(msgspec.Struct, frozen=True):
    """What the tests said under one breakage."""

    breakage: str
    passed: frozenset[str]
    failed: frozenset[str]
    reasons: tuple[str, ...] = ()
    """Where and how they failed, for a person: who only stumbles over the breakage has shown nothing."""


def break_rows(ids: list[str], jobs: int) -> int:
    """Exit status: 0 when every breakage was noticed and every test noticed one."""
    found = halves()
    rows = [row for half in found for row in half.row if row.tests and (not ids or row.id in ids)]
    breakages = {one.name: one for half in found for one in half.breakage}
    with tempfile.TemporaryDirectory(prefix="tidings-parity-") as directory, ThreadPoolExecutor(jobs) as pool:
        trees = _copies(Path(directory), jobs)
        tests = sorted({test for row in rows for test in row.tests})
        list(pool.map(lambda number: _check_unbroken(trees, tests[number::jobs]), range(jobs)))
        seen = pool.map(lambda name: _see(trees, breakages[name], _tests_of(rows, name)), _names(rows))
        return _report(rows, {one.breakage: one for one in seen})


def _copies(directory: Path, jobs: int) -> Trees:
    trees = Trees()
    for number in range(jobs):
        tree = directory / f"{number}"
        _copy(tree)
        _check_imports(tree)
        trees.put(tree)
    return trees


def _copy(tree: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)


def _python(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Bytecode is found by time and size alone: it would outlive a breakage of the same length.
    ours = {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env=os.environ | ours,
        check=False,
        capture_output=True,
        text=True,
    )


def _check_imports(tree: Path) -> None:
    """The copy's code must be what runs there."""
    for room in ROOMS:
        shown = _python(tree, "-c", f"import {room}; print({room}.__file__)").stdout.strip()
        if Path(shown).resolve() != (tree / room / "__init__.py").resolve():
            raise CannotBreak(f"{room} comes from {shown}, not from the copy")


@contextmanager
def _one_of(trees: Trees) -> Iterator[Path]:
    tree = trees.get()
    try:
        yield tree
    finally:
        trees.put(tree)


def _check_unbroken(trees: Trees, tests: list[str]) -> None:
    if not tests:
        return
    with _one_of(trees) as tree:
        seen = _run(tree, "unbroken", tests)
    if seen.failed:
        raise CannotBreak("these fail unbroken: " + ", ".join(sorted(seen.failed)))


def _run(tree: Path, breakage: str, tests: list[str]) -> Seen:
    options = ["-n0", "-q", "--tb=line", "--show-capture=no", "-rpfE", "-p", "no:cacheprovider"]
    done = _python(tree, "-m", "pytest", *options, *tests)
    verdicts = _VERDICT.findall(done.stdout)
    if done.returncode >= COLLECTION_FAILED or not verdicts:
        raise CannotBreak(
            f"the tests do not start under {breakage}:\n{done.stdout[-2000:]}{done.stderr[-500:]}"
        )
    failed = frozenset(test for verdict, test in verdicts if verdict != "PASSED")
    reasons = tuple(dict.fromkeys(_REASON.findall(done.stdout)))
    return Seen(breakage, frozenset(test for _, test in verdicts) - failed, failed, reasons)


def _see(trees: Trees, breakage: Breakage, tests: list[str]) -> Seen:
    with _one_of(trees) as tree, _broken(tree / breakage.file, breakage):
        seen = _run(tree, breakage.name, tests)
    said = f"{breakage.name}: {len(seen.failed)} of {len(seen.failed | seen.passed)} tests fail"
    _say("\n    ".join([said, *seen.reasons]))
    return seen


@contextmanager
def _broken(file: Path, breakage: Breakage) -> Iterator[None]:
    whole = file.read_text()
    if whole.count(breakage.old) != 1:
        raise CannotBreak(
            f"{breakage.name}: its text occurs {whole.count(breakage.old)} times in {breakage.file}"
        )
    file.write_text(whole.replace(breakage.old, breakage.new))
    try:
        yield
    finally:
        file.write_text(whole)


def _tests_of(rows: list[Row], breakage: str) -> list[str]:
    return sorted({test for row in rows if breakage in row.breakages for test in row.tests})


def _names(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.breakages))


def _report(rows: list[Row], seen: dict[str, Seen]) -> int:
    _say("")
    faults = 0
    for row in rows:
        complaints = list(survivors(row, seen))
        faults += bool(complaints)
        _say(f"{row.id:<26} {'; '.join(complaints) or 'broken and noticed'}")
    _say(f"\n{len(rows)} rows, {len(seen)} breakages, {faults} rows that do not notice")
    return int(faults > 0)


def survivors(row: Row, seen: dict[str, Seen]) -> Iterator[str]:
    tests = {"::".join(file_and_name(test)) for test in row.tests}
    for name in row.breakages:
        if not tests & seen[name].failed:
            yield f"NOBODY NOTICES {name}"
    for test in sorted(tests):
        if not any(test in seen[name].failed for name in row.breakages):
            yield f"NEVER FAILS {test}"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
