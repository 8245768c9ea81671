"""Single-line mutants of the due queue's SQL, run by PostgreSQL, against the contract suite's moves."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg.conninfo import make_conninfo

from benchmarks.simulated.equivalents import LINE, equivalents
from benchmarks.simulated.model import KEY
from benchmarks.simulated.moves import MOVES, Queue, all_moves, all_moves_in_order
from benchmarks.simulated.mutants import CONTRACT, Tried, model_queue
from event_log import due_queue
from event_log.database import Database
from event_log.log import Log
from event_log.migrations import migrate
from event_log.sql import Queries, load
from tidings.postgres.use import embedded_postgres

STATEMENTS = (
    "waiting",
    "claim",
    "claim_in_order",
    "held",
    "renew",
    "release",
    "put",
    "remove",
    "pull_forward",
)
_MIGRATIONS = Path(__file__).parent.parent.parent / "migrations"
_CHANGES: tuple[tuple[str, str], ...] = (
    (r" < ", " <= "), (r" < ", " > "), (r" <= ", " < "), (r" <= ", " > "), (r" > ", " >= "), (r" > ", " <= "),
    (r" >= ", " > "), (r" >= ", " < "), (r" = ", " <> "), (r" <> ALL", " = ALL"), (r" IN ", " NOT IN "),
    (r"IS NULL", "IS NOT NULL"), (r"IS NOT NULL", "IS NULL"), (r"\bOR\b", "AND"), (r"NOT EXISTS", "EXISTS"),
    (r"AND NOT ", "AND "), (r" NULLS FIRST", " NULLS LAST"), (r"greatest", "least"), (r"least", "greatest"),
    (r"(claims (?:>=|<|>)) 2", r"\1 3"), (r"(claims (?:>=|<|>)) 1", r"\1 2"), (r"LIMIT 1\b", "LIMIT 2"),
    (r"FIRST 1 ROWS WITH TIES", "FIRST 1 ROWS ONLY"), (r"\+ 1,", "+ 2,"), (r"- 1\b", "- 2"), (r"= 0", "= 1"),
    (r" \+ %", " - %"), (r"^\s*AND [^()]*$", ""), (r"^\s*AND .*\)$", ""), (r"^\s*ORDER BY .*$", ""),
    (r" AND .*(?=\))", ""), (r"d\.claims \+ 1", "d.claims"), (r"^\s*LIMIT .*$", ""),
    (r"^\s*LIMIT (.*)\)(.*)$", r")\2"), (r"excluded\.(\w+)", r"due_notifications.\1"),
    (r"^\s*claims = 0,$", ""),
    (r"ORDER BY (\w+\.\w+)$", r"ORDER BY \1 DESC"), (r", turn = .*", ""),
)  # fmt: skip
"""A pattern and what takes its place, at one spot of one line."""


class SqlMutant(msgspec.Struct, frozen=True):
    statement: str
    label: str
    text: str

    @property
    def name(self) -> str:
        """The label without the line, which moves."""
        return LINE.sub("", self.label, count=1)

    @property
    def known_equivalent(self) -> bool:
        return self.name in equivalents()


def all_sql_mutants() -> list[SqlMutant]:
    queries = load("event_log", "due_queue.sql")
    found = [mutant for name in STATEMENTS for mutant in _mutants_of(name, getattr(queries, name))]
    return list({mutant.text: mutant for mutant in found}.values())


def _mutants_of(name: str, text: str) -> Iterator[SqlMutant]:
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if line.lstrip().startswith("--"):
            continue
        for pattern, instead in _CHANGES:
            for spot in re.finditer(pattern, line):
                changed = line[: spot.start()] + spot.expand(instead) + line[spot.end() :]
                if changed != line:
                    label = f"sql {name}: line {number}: `{line.strip()}` as `{changed.strip()}`"
                    yield SqlMutant(name, label, "\n".join([*lines[:number], changed, *lines[number + 1 :]]))


class Bench:
    """The real queue, and what the model's has shown."""

    def __init__(self, conninfo: str) -> None:
        # A mutant may never come to an end. And no index puts in order what the statement leaves as it is.
        plans = "-c enable_indexscan=off -c enable_indexonlyscan=off -c enable_bitmapscan=off"
        self._conninfo = make_conninfo(conninfo, options=f"-c statement_timeout=5s {plans}")
        self._database = Database(self._conninfo)
        self._database.open()
        self.expected = [list(moves) for moves in _all(model_queue)]

    def close(self) -> None:
        self._database.close()

    def differs(self) -> bool:
        """Whether the moves come to something else than on the model."""
        try:
            for expected, found in zip(self.expected, _all(self._queue), strict=True):
                if any(one != other for one, other in zip_longest(expected, found)):
                    return True
        except Exception:  # noqa: BLE001  # a difference too
            return True
        return False

    def _queue(self) -> Queue:
        with psycopg.connect(self._conninfo) as connection:
            connection.execute("DELETE FROM due_notifications")
            connection.execute("DELETE FROM delivery_pauses")
            connection.execute("DELETE FROM events")
        return Queue(Log(self._database, KEY, os.urandom), modelled=False)


def _all(queue: Any) -> Iterator[Iterator[Any]]:  # noqa: ANN401  # makes an empty queue
    return chain(
        (all_moves(queue(), seed) for seed in MOVES), (all_moves_in_order(queue(), seed) for seed in (0,))
    )


def attempts() -> Iterator[Tried]:
    with bench() as real:
        assert not real.differs(), "the model and PostgreSQL differ without any mutant"
        for mutant in all_sql_mutants():
            with in_force(mutant):
                seed = CONTRACT if real.differs() else None
            yield Tried(mutant.label, seed, mutant.known_equivalent)


@contextmanager
def bench() -> Iterator[Bench]:
    with (
        tempfile.TemporaryDirectory(prefix="tidings-mutants-") as directory,
        embedded_postgres(Path(directory)) as conninfo,
    ):
        migrate(conninfo, _MIGRATIONS)
        opened = Bench(conninfo)
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def in_force(mutant: SqlMutant) -> Iterator[None]:
    kept = due_queue._queries  # noqa: SLF001
    due_queue._queries = Queries(kept._statements | {mutant.statement: mutant.text})  # noqa: SLF001
    try:
        yield
    finally:
        due_queue._queries = kept  # noqa: SLF001
