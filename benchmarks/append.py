"""Events a second through the intake and its group commit, and how long a producer waits for its answer.

By events a batch and producers at once. Beside each, in the same run, bare SQL of the same shape: the very
rows that were stored, in the very commits they were stored in, by one INSERT … SELECT unnest a commit into a
table like the log's, with nothing checked, sealed, locked or decided.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, figure, percentile, ratios
from benchmarks.own_log import OwnLog, own_log
from event_log.intake import CallerEvent, Intake, append
from event_log.sql import load

BATCHES = (1, 10, 100, 1000)
PRODUCERS = (1, 16, 64)
SUBJECTS = 1000
INSTANCE = "bench"
FILLING = "x" * 330
"""Makes a stored event about 600 bytes."""

_COLUMNS = ("streams", "versions", "topics", "states", "instances", "event_ids")
_BARE_INSERT = load("event_log", "recorder.sql").insert_events.replace("INTO events", "INTO bare_events")
_STORED = """
SELECT array_agg(originator_id), array_agg(originator_version), array_agg(topic), array_agg(state),
       array_agg(instance_id), array_agg(event_id)
  FROM events
 WHERE notification_id > %s
 GROUP BY xmin::text
 ORDER BY min(notification_id)
"""


class Cell(msgspec.Struct, frozen=True):
    batch: int
    producers: int


class Ran(msgspec.Struct, frozen=True):
    per_s: float
    bare_per_s: float
    p50_ms: float
    p99_ms: float


class Cells(msgspec.Struct, frozen=True):
    """All runs of one cell."""

    per_s: Figure
    ratio: Figure
    p50_ms: Figure
    p99_ms: Figure


def events(run: str) -> Iterator[CallerEvent]:
    """Without end, for people who are known already."""
    for number in itertools.count():
        yield CallerEvent(
            source="bench",
            id=f"{run}-{number}",
            type="cart.filled",
            subject=f"cart/{number % SUBJECTS}",
            data={"items": number, "note": FILLING},
        )


def prepare(place: OwnLog) -> None:
    """A table like the log's, and a first event of each subject."""
    place.owner.execute("CREATE TABLE bare_events (LIKE events INCLUDING ALL)")
    append(place.log, INSTANCE, list(itertools.islice(events("first"), SUBJECTS)))


async def produce(intake: Intake, source: Iterator[CallerEvent], batch: int, until: float) -> list[float]:
    """One producer: batch after batch, each when the one before was answered; seconds waited for each."""
    waited = []
    while (began := time.perf_counter()) < until:
        await intake.commit(intake.prepare(INSTANCE, list(itertools.islice(source, batch))))
        waited.append(time.perf_counter() - began)
    return waited


async def ours(place: OwnLog, cell: Cell, run: str, seconds: float) -> tuple[float, list[float]]:
    """Events a second, and what each batch waited."""
    source = events(run)
    began = time.perf_counter()
    with closing(Intake(place.log)) as intake:
        waited = await asyncio.gather(
            *(produce(intake, source, cell.batch, began + seconds) for _ in range(cell.producers))
        )
        took = time.perf_counter() - began
    answers = list(itertools.chain.from_iterable(waited))
    return len(answers) * cell.batch / took, answers


def bare(place: OwnLog, after: int) -> float:
    """Events a second of the same rows in the same commits, into the bare table."""
    commits = place.owner.cursor(binary=True).execute(_STORED, [after]).fetchall()
    cursor = place.owner.cursor(binary=True)
    began = time.perf_counter()
    for commit in commits:
        cursor.execute(_BARE_INSERT.encode(), _parameters(commit), prepare=True)
    return sum(len(commit[0]) for commit in commits) / (time.perf_counter() - began)


def _parameters(commit: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(_COLUMNS, commit, strict=True))


def measure(place: OwnLog, cell: Cell, run: str, seconds: float) -> Ran:
    after = place.count("SELECT max(notification_id) FROM events")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        per_s, waited = runner.run(ours(place, cell, run, seconds))
    return Ran(
        per_s=per_s,
        bare_per_s=bare(place, after),
        p50_ms=percentile(waited, 0.5) * 1000,
        p99_ms=percentile(waited, 0.99) * 1000,
    )


def all_cells(runs: int, seconds: float, cells: Sequence[Cell]) -> dict[Cell, Cells]:
    """Every cell once a run, so that a noisy moment is not one cell's alone."""
    found: dict[Cell, list[Ran]] = {cell: [] for cell in cells}
    with own_log() as place:
        prepare(place)
        for run, cell in itertools.product(range(runs), cells):
            name = f"{run}-{cell.batch}-{cell.producers}"
            found[cell].append(measure(place, cell, name, seconds))
    return {cell: _together(ran) for cell, ran in found.items()}


def _together(ran: Sequence[Ran]) -> Cells:
    return Cells(
        per_s=figure([one.per_s for one in ran]),
        ratio=ratios([one.per_s for one in ran], [one.bare_per_s for one in ran]),
        p50_ms=figure([one.p50_ms for one in ran]),
        p99_ms=figure([one.p99_ms for one in ran]),
    )


def main(runs: int, seconds: float) -> None:
    cells = [Cell(batch, producers) for batch in BATCHES for producers in PRODUCERS]
    measured = all_cells(runs, seconds, cells)
    table = Table("batch", "producers", "events/s", "of bare SQL", "p50 ms", "p99 ms", title="append")
    result: dict[str, object] = {}
    for cell, one in measured.items():
        table.add_row(
            str(cell.batch), str(cell.producers), one.per_s.shown(), one.ratio.shown(2),
            f"{one.p50_ms.median:.2f}", f"{one.p99_ms.median:.2f}",
        )  # fmt: skip
        result[f"batch_{cell.batch}_producers_{cell.producers}"] = {
            "events_per_s": round(one.per_s.median),
            "spread": round(one.per_s.spread, 3),
            "ratio": round(one.ratio.median, 3),
            "p50_ms": round(one.p50_ms.median, 2),
            "p99_ms": round(one.p99_ms.median, 2),
        }
    Console().print(table)
    print(json.dumps(result))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each cell in each run")
    parser.add_argument("--quick", action="store_true", help="3 runs of 0.4 s")
    options = parser.parse_args()
    main(*((3, 0.4) if options.quick else (options.runs, options.seconds)))
