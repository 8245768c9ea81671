"""Events a second over REST with 64 clients, single and in batches of 100.

Against the same application without a database (its intake answers at once), and batches against the same
events appended in one process without HTTP (the benchmark append: batches of 100, 64 producers).
"""

from __future__ import annotations

import argparse
import json
import os
from collections import defaultdict
from contextlib import ExitStack

from rich.console import Console
from rich.table import Table

from benchmarks import append
from benchmarks.figures import Figure, figure, ratios
from benchmarks.http_load import Load, OwnClient, Wish, Wrk, loader
from benchmarks.own_log import OwnLog, own_log
from benchmarks.processes import peak_memory
from benchmarks.served import INSTANT, REAL, served
from event_log.api_keys import SCOPES, create_key
from tidings.composition import clock

CLIENTS = 64
BATCH = 100


class Doors:
    """Both applications, side by side on one PostgreSQL; only one is loaded at a time."""

    def __init__(self, place: OwnLog, held: ExitStack, load: Wrk | OwnClient) -> None:
        _, self._key = create_key(place.log.database, append.INSTANCE, SCOPES, "bench", clock(), os.urandom)
        self._doors = {program: held.enter_context(served(place, program)) for program in (REAL, INSTANT)}
        self._load = load
        self.latencies: dict[str, list[Load]] = defaultdict(list)

    def events_per_s(self, program: str, batch: int, seconds: float, run: int) -> float:
        prefix = f"{program}-{batch}-{run}"
        done = self._load.run(Wish(self._doors[program].url, self._key, CLIENTS, batch, seconds, prefix))
        if done.errors:
            raise RuntimeError(f"{done.errors} of {done.requests} requests failed")
        self.latencies[f"{program} {batch}"].append(done)
        return done.per_s * batch

    def memory(self) -> float:
        """The most MiB the api has had resident."""
        return peak_memory(self._doors[REAL].pid)


def measure(place: OwnLog, doors: Doors, runs: int, seconds: float) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for run in range(-1, runs):
        # The first time only warms up.
        taken = 1.0 if run < 0 else seconds
        rates = {
            f"{program} {batch}": doors.events_per_s(program, batch, taken, run)
            for batch in (1, BATCH)
            for program in (REAL, INSTANT)
        }
        rates["append"] = append.measure(place, append.Cell(BATCH, CLIENTS), f"beside-{run}", taken).per_s
        for name, rate in rates.items() if run >= 0 else ():
            found[name].append(rate)
    return found


def main(runs: int, seconds: float) -> None:
    load = loader()
    with own_log() as place, ExitStack() as held:
        append.prepare(place)
        doors = Doors(place, held, load)
        found = measure(place, doors, runs, seconds)
        memory = doors.memory()
    single = ratios(found[f"{REAL} 1"], found[f"{INSTANT} 1"])
    batch = ratios(found[f"{REAL} {BATCH}"], found["append"])
    _print(found, doors, load.name)
    print(f"the api at its largest: {memory:.0f} MiB")
    result = {
        "single_per_s": round(figure(found[f"{REAL} 1"]).median),
        "single_ratio": round(single.median, 3),
        "single_ratio_spread": round(single.spread, 3),
        "batch_events_per_s": round(figure(found[f"{REAL} {BATCH}"]).median),
        "batch_ratio": round(batch.median, 3),
        "batch_ratio_spread": round(batch.spread, 3),
        "api_mib": round(memory),
        "load": load.name,
    }
    print(json.dumps(result))


def _print(found: dict[str, list[float]], doors: Doors, load: str) -> None:
    table = Table(
        "what", "events/s", "p50 ms", "p99 ms", title=f"ingest, {CLIENTS} clients, load from {load}"
    )
    names = {REAL: "REST", INSTANT: "REST without a database"}
    for name, rates in found.items():
        program, _, batch = name.partition(" ")
        told = doors.latencies.get(name, [])
        p50, p99 = (f"{_median(told, which).median:.1f}" if told else "" for which in ("p50_ms", "p99_ms"))
        of = f"{names[program]}, batches of {batch}" if batch else "append, no HTTP, batches of 100"
        table.add_row(of, figure(rates).shown(), p50, p99)
    Console().print(table)


def _median(told: list[Load], which: str) -> Figure:
    return figure([getattr(load, which) for load in told])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement in each run")
    parser.add_argument("--quick", action="store_true", help="3 runs of 1 s")
    options = parser.parse_args()
    main(*((3, 1.0) if options.quick else (options.runs, options.seconds)))
