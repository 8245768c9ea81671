"""The same no-op delivery through Tidings and through queues that do nothing else, on one PostgreSQL.

Jobs a second while a backlog is drained, without its first tenth, until the last job is recorded as done; and
the time from enqueueing to the start of a job on an idle queue. One worker process each, a database
each, the runs taken in turns. Peers are installed the first time, which takes a minute and needs a network.

Its name is also the standard library's: scripts/bench keeps this directory off the path of imports.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.peers.contender import Contender, ContenderFailed, Server, drain, fill, idle
from benchmarks.peers.field import Field, field
from benchmarks.peers.figures import Figures, percentile, ratios
from benchmarks.peers.speaking import WARM_UP
from tidings.postgres.use import embedded_postgres

OURS = "tidings"


class Plan(msgspec.Struct, frozen=True):
    jobs: int
    runs: int
    samples: int
    """Jobs enqueued one by one on the idle queue."""
    limit: float
    """Seconds after which a drain is cut short, and counted as far as it came."""


class Measured(msgspec.Struct):
    """What one contender showed."""

    contender: Contender
    version: str = ""
    rates: list[float] = []
    """Jobs a second, a run each."""
    waits: list[float] = []
    """Milliseconds from enqueueing to start, shortest first."""


Step: TypeAlias = Callable[[Measured], Awaitable[None]]


class Benchmark:
    """Goes on without a peer that fails, but not without Tidings."""

    def __init__(self, server: Server, found: Field, plan: Plan, console: Console) -> None:
        self._server = server
        self._plan = plan
        self._console = console
        self.missing = dict(found.missing)
        self.measured = {one.name: Measured(one) for one in found.contenders}

    async def run(self) -> None:
        await asyncio.gather(*(self._attempt(self.fill, one) for one in self._present()))
        for number in range(self._plan.runs):
            for one in self._present()[:: -1 if number % 2 else 1]:
                await self._attempt(self.drain, one)
        for one in self._present():
            await self._attempt(self.idle, one)

    async def fill(self, one: Measured) -> None:
        self._console.print(f"{one.contender.name}: enqueueing {self._plan.jobs:,} jobs …")
        await fill(self._server, one.contender, self._plan.jobs)

    async def drain(self, one: Measured) -> None:
        drained = await drain(self._server, one.contender, self._plan.jobs, self._plan.limit)
        one.version = drained.version
        one.rates.append(drained.per_second)
        self._console.print(f"{one.contender.name}: {drained.jobs:,} jobs in {drained.seconds:.2f} s")

    async def idle(self, one: Measured) -> None:
        # Seeded: the same pauses for all, short and uneven, so that a poll may come at any time in them.
        chance = random.Random(4)
        pauses = [chance.uniform(0.02, 0.08) for _ in range(self._plan.samples + WARM_UP)]
        one.waits = [wait * 1000 for wait in await idle(self._server, one.contender, pauses)]
        self._console.print(f"{one.contender.name}: a job starts after {statistics.median(one.waits):.1f} ms")

    def _present(self) -> list[Measured]:
        return list(self.measured.values())

    async def _attempt(self, step: Step, one: Measured) -> None:
        try:
            await step(one)
        except ContenderFailed as error:
            if one.contender.name == OURS:
                raise
            self.missing[one.contender.name] = str(error)
            del self.measured[one.contender.name]


def show(benchmark: Benchmark, plan: Plan, console: Console) -> None:
    title = (
        f"{plan.jobs:,} jobs, {plan.runs} runs in turns: median (least to most); idle: {plan.samples} jobs"
    )
    table = Table("queue", "jobs/s", "Tidings to it", "idle p50 / p99 ms", title=title)
    ours = Figures(tuple(benchmark.measured[OURS].rates))
    for name, one in benchmark.measured.items():
        rates = Figures(tuple(one.rates))
        wait = f"{statistics.median(one.waits):.1f} / {percentile(one.waits, 0.99):.1f}"
        table.add_row(name, str(rates), str(ratios(ours, rates)), wait)
    console.print(table)
    for name, one in benchmark.measured.items():
        console.print(f"{name} {one.version}: {one.contender.how}")
    for name, why in benchmark.missing.items():
        console.print(f"without {name}: {why}")


def summary(benchmark: Benchmark) -> dict[str, Any]:
    ours = Figures(tuple(benchmark.measured[OURS].rates))
    result: dict[str, Any] = {}
    for name, one in benchmark.measured.items():
        rates = Figures(tuple(one.rates))
        result[f"{name}_per_s"] = round(rates.median, 1)
        result[f"{name}_idle_p50_ms"] = round(statistics.median(one.waits), 1)
        result[f"{name}_idle_p99_ms"] = round(percentile(one.waits, 0.99), 1)
        if name != OURS:
            result[f"ratio_{name}"] = round(ratios(ours, rates).median, 3)
    return result | {"missing": benchmark.missing}


async def main(plan: Plan) -> None:
    console = Console()
    with tempfile.TemporaryDirectory(prefix="tidings-bench-") as directory:
        data = Path(directory)
        found = field(data, console.print)
        with embedded_postgres(data, wait_for_stop=True) as conninfo:
            benchmark = Benchmark(Server(conninfo), found, plan, console)
            await benchmark.run()
    show(benchmark, plan, console)
    print(json.dumps(summary(benchmark)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000, help="more than one batch of 100")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--samples", type=int, default=200, help="jobs on the idle queue")
    parser.add_argument("--quick", action="store_true", help="500 jobs, one run")
    options = parser.parse_args()
    usual = Plan(options.jobs, options.runs, options.samples, 60.0)
    asyncio.run(main(Plan(500, 1, 20, 5.0) if options.quick else usual))
