"""Trigger events over REST to mails accepted and recorded as sent: notifications a second, end to end.

One api, one handler, worker processes, the sandbox and PostgreSQL share the machine with the client. Mails of
about 8 KB in two parts to distinct users; the sandbox writes each into its ledger, with fsync, before it
accepts it. Beside it, round by round, the naive build (benchmarks/naive.py) into the same sandbox and
PostgreSQL. Counted in the log and in the ledger; where the time goes is processor time by process, and inside
the worker by step.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec
import psycopg
from rich.console import Console
from rich.table import Column, Table

from benchmarks.big_tables import add_due
from benchmarks.figures import Figure, figure, ratios
from benchmarks.long_texts import PROGRAM
from benchmarks.stack import ROOT, Stack, code, stack, user
from benchmarks.timed_worker import TIMED, TOLD

PATIENCE = 600.0
TASKS = 64
"""Of the naive build at once: each has a connection to PostgreSQL, which lets in a hundred."""
INSTANCE = "bench"
_CHAINS = {"1": "1 worker", "2": "2 workers"}
_DRAINS = {f"backlog {count}": f"backlog, {count}" for count in _CHAINS}
_SENT = """
SELECT count(*) FILTER (WHERE topic = 'notification.sent'), max(notification_id),
       max(recorded_at) FILTER (WHERE topic = 'notification.sent')
  FROM events
 WHERE notification_id > %s
"""
_HEAD = "SELECT coalesce(max(notification_id), 0) FROM events"
_FOLLOWED = """
SELECT min(position) >= (SELECT max(notification_id) FROM events)
  FROM tracking
 WHERE projection IN ('handler', 'history')
"""
_TIMES = """
SELECT extract(epoch FROM recorded_at)::float8
  FROM events
 WHERE notification_id > %s AND topic = 'notification.sent'
 ORDER BY notification_id
"""

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]


class Plan(msgspec.Struct, frozen=True):
    rounds: int
    """Each with one run of ours, by one worker and by two, and one of the naive build."""
    notifications: int
    naive: int
    backlog: int
    large: int
    """Notifications of one more run, by the better number of workers; 0 leaves it out."""
    overdue: int
    """Due rows behind the last backlog, while the worker's memory is watched; 0 leaves it out."""


class Ran(msgspec.Struct, frozen=True):
    per_s: float
    cpu: dict[str, float]
    """Milliseconds a notification by process."""


class Benchmark:
    def __init__(self, running: Stack, connection: Connection, plan: Plan) -> None:
        self._running = running
        self._connection = connection
        self._plan = plan
        self._numbers = itertools.count()
        self.told = 0
        self.sent = 0
        self.memory: dict[str, float] = {}
        self.rates: dict[str, list[float]] = {}
        self.cpu: dict[str, list[dict[str, float]]] = {}

    # --- whole chain ---------------------------------------------------------------------------------

    async def rounds(self) -> None:
        for number in range(self._plan.rounds):
            for workers in (1, 2) if number % 2 else (2, 1):
                self._note(f"{workers}", await self.chain(workers, self._plan.notifications))
            self._note("naive", await self.naive(self._plan.naive))
            for workers in (1, 2) if number % 2 else (2, 1):
                self._note(f"backlog {workers}", await self.drain(workers))

    def _note(self, name: str, ran: Ran) -> None:
        self.rates.setdefault(name, []).append(ran.per_s)
        self.cpu.setdefault(name, []).append(ran.cpu)

    async def chain(self, workers: int, count: int, program: str = PROGRAM, **environment: str) -> Ran:
        """From the first trigger over REST to the last sent event."""
        numbers = await self._known(count)
        async with self._running.workers(workers, program, **environment):
            await asyncio.sleep(1)
            return await self._timed(count, self._running.append_all(map(code, numbers)))

    async def _known(self, count: int) -> list[int]:
        """Users nobody has told anything yet."""
        numbers = list(itertools.islice(self._numbers, count))
        await self._running.append_all(map(user, numbers))
        await self._followed()
        return numbers

    async def _followed(self) -> None:
        """Until everything is decided and the history has read it all."""
        while not self._one(_FOLLOWED):  # noqa: ASYNC110  # another process makes it true
            await asyncio.sleep(0.1)

    async def _timed(self, count: int, feeding: Awaitable[None]) -> Ran:
        head, before, began = self._one(_HEAD), self._running.cpu_seconds(), datetime.now(UTC)
        await feeding
        ended = await self._all_sent(head, count)
        # The history trails the log: what it has still to read is counted too, though nobody waits for it.
        await self._followed()
        after = self._running.cpu_seconds()
        self._watch_memory()
        self.told += count
        spent = {name: (after[name] - before.get(name, 0.0)) / count * 1000 for name in after}
        return Ran(count / (ended - began).total_seconds(), spent)

    async def _all_sent(self, position: int, count: int) -> datetime:
        """When the last was recorded. Reads each event once: to count them all again would cost too much."""
        async with asyncio.timeout(PATIENCE):
            while True:
                sent, head, last = self._connection.execute(_SENT, [position]).fetchone() or (0, None, None)
                count, position = count - sent, head or position
                self.sent += sent
                if count <= 0 and last is not None:
                    moment: datetime = last
                    return moment
                await asyncio.sleep(0.1)

    def _watch_memory(self) -> None:
        for name, peak in self._running.peak_memory().items():
            self.memory[name] = max(self.memory.get(name, 0.0), peak)

    def _one(self, statement: str) -> Any:  # noqa: ANN401  # one value
        row = self._connection.execute(statement.encode()).fetchone()
        return row[0] if row else None

    # --- from a backlog ------------------------------------------------------------------------------

    async def drain(self, workers: int) -> Ran:
        """Everything is decided, and api and handler stand still; what is sent once all workers are ready.

        Without the first and the last tenth of that.
        """
        await self._backlog()
        head = self._one(_HEAD)
        with self._running.front_at_rest():
            async with self._running.workers(workers, PROGRAM):
                ready, before = time.time(), self._running.cpu_seconds()
                await self._all_sent(head, self._plan.backlog)
                after = self._running.cpu_seconds()
        times = [moment for (moment,) in self._connection.execute(_TIMES, [head]).fetchall()]
        together = [moment for moment in times if moment >= ready]
        inner = together[len(together) // 10 : -len(together) // 10]
        spent = {name: (after[name] - before.get(name, 0.0)) / len(together) * 1000 for name in after}
        return Ran(len(inner) / (inner[-1] - inner[0]), spent)

    async def _backlog(self) -> None:
        numbers = await self._known(self._plan.backlog)
        await self._running.append_all(map(code, numbers))
        await self._followed()
        self.told += self._plan.backlog

    async def overdue(self) -> float:
        """MiB of a worker at its largest, delivering the first of so many that are due."""
        await self._backlog()
        head = self._one(_HEAD)
        add_due(self._connection, self._plan.overdue, INSTANCE)
        with self._running.front_at_rest():
            async with self._running.workers(1, PROGRAM):
                await self._all_sent(head, self._plan.backlog)
                return self._running.peak_memory()["worker"]

    # --- beside it -----------------------------------------------------------------------------------

    async def naive(self, count: int) -> Ran:
        told = await asyncio.to_thread(self._run_naive, next(self._numbers), count)
        return Ran(count / told["seconds"], {"naive": told["cpu_seconds"] / count * 1000})

    def _run_naive(self, first: int, count: int) -> dict[str, float]:
        given = [self._connection.info.dsn, *map(str, (self._running.smtp_port, first, count, TASKS))]
        done = subprocess.run(  # noqa: S603  # our own program
            [sys.executable, "-m", "benchmarks.naive", *given],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        told: dict[str, float] = json.loads(done.stdout)
        return told

    async def steps(self) -> dict[str, float]:
        """Milliseconds of processor time a notification by step of one worker, in a run of its own."""
        file = self._running.data / "steps.json"
        await self.chain(1, self._plan.notifications, TIMED, **{TOLD: str(file)})
        told: dict[str, float] = json.loads(await asyncio.to_thread(file.read_text))
        return {name: seconds / self._plan.notifications * 1000 for name, seconds in told.items()}

    def delivered(self) -> Counter[str]:
        """Mails by address, of ours alone. Each user is told one thing, so two mails are one told twice."""
        mails = (mail.to[0] for mail in self._running.arrivals())
        return Counter(to for to in mails if to.startswith("user"))


def _print_rates(found: Benchmark, console: Console) -> None:
    table = Table("what", "notifications/s", title="throughput")
    titles = {"naive": f"the naive build, {TASKS} tasks"}
    for name, rates in sorted(found.rates.items()):
        kind, _, workers = name.rpartition(" ")
        ours = f"{'from a backlog, front at rest' if kind else 'whole chain'}, {workers} worker(s)"
        table.add_row(titles.get(name, ours), figure(rates).shown())
    console.print(table)


def _print_cpu(found: Benchmark, steps: dict[str, float], console: Console) -> None:
    kinds = _CHAINS | _DRAINS
    title = "where the time goes: ms of processor time a notification"
    table = Table(Column("process", no_wrap=True), *kinds.values(), title=title)
    spent = {kind: _medians(found.cpu[kind]) for kind in kinds}
    for name in sorted(spent["1"], key=lambda name: -spent["1"][name]):
        table.add_row(name, *(f"{used[name]:.3f}" for used in spent.values()))
        for step, taken in sorted(steps.items(), key=lambda item: -item[1]) if name == "worker" else ():
            table.add_row(f"  {step}", f"{taken:.3f}")
    table.add_row("all", *(f"{sum(used.values()):.3f}" for used in spent.values()))
    console.print(table)
    naive = _medians(found.cpu["naive"])["naive"]
    console.print(f"the naive build: {naive:.3f} ms, without its share of PostgreSQL and the sandbox")


def _medians(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: figure([run[name] for run in runs]).median for name in runs[0]}


async def main(plan: Plan) -> None:
    console = Console()
    async with stack(TIDINGS_WORKERS__PROCESSES="0") as running:
        with running.database() as connection:
            found = Benchmark(running, connection, plan)
            await found.rounds()
            steps = await found.steps()
            better = max(("1", "2"), key=lambda workers: figure(found.rates[workers]).median)
            large = await found.chain(int(better), plan.large) if plan.large else None
            overdue = await found.overdue() if plan.overdue else 0.0
            mails = found.delivered()
        refused = running.refused
    _print_rates(found, console)
    _print_cpu(found, steps, console)
    console.print(
        "sink: the sandbox, which writes each mail into its ledger, with fsync, before it accepts it"
    )
    console.print(f"peak memory, MiB: {', '.join(f'{n} {m:.0f}' for n, m in sorted(found.memory.items()))}")
    told = _summary(found, mails, better, large, overdue, refused)
    print(json.dumps(told | {"steps_ms": {step: round(taken, 3) for step, taken in steps.items()}}))


def _summary(
    found: Benchmark, mails: Counter[str], better: str, large: Ran | None, overdue: float, refused: int
) -> dict[str, object]:
    rates = {name: figure(runs) for name, runs in found.rates.items()}
    ratio = ratios(found.rates[better], found.rates["naive"])
    second = ratios(found.rates["backlog 2"], found.rates["backlog 1"])
    result: dict[str, object] = {
        "notifications": found.told,
        "delivered": len(mails),
        "twice": sum(1 for times in mails.values() if times > 1),
        "lost": found.told - min(len(mails), found.sent),
        "batches_refused": refused,
        "notifications_per_s": round(rates[better].median, 1),
        "notifications_per_s_spread": round(rates[better].spread, 3),
        "workers": int(better),
        "naive_per_s": round(rates["naive"].median, 1),
        "ratio_naive": round(ratio.median, 2),
        "second_worker_ratio": round(second.median, 2),
        "second_worker_ratio_spread": round(second.spread, 3),
        "backlog_per_s": {workers: _rounded(rates[f"backlog {workers}"]) for workers in _CHAINS},
        "by_workers": {workers: _rounded(rates[workers]) for workers in _CHAINS},
        "ms_of_processor": {name: round(used, 3) for name, used in _medians(found.cpu[better]).items()},
        "backlog_ms_of_processor": {
            name: round(used, 3) for name, used in _medians(found.cpu["backlog 1"]).items()
        },
        "worker_mib": round(found.memory.get("worker", 0.0)),
        "api_mib": round(found.memory.get("api", 0.0)),
    }
    if large is not None:
        result["large_per_s"] = round(large.per_s, 1)
    if overdue:
        result["worker_mib_before_a_million"] = round(overdue)
    return result


def _rounded(rates: Figure) -> float:
    return round(rates.median, 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--notifications", type=int, default=10_000, help="of a run of the whole chain")
    parser.add_argument("--backlog", type=int, default=10_000, help="of a drain")
    parser.add_argument("--large", type=int, default=100_000, help="of one more run; 0: none")
    parser.add_argument("--overdue", type=int, default=1_000_000, help="due while memory is watched; 0: none")
    parser.add_argument("--quick", action="store_true", help="one round of 1,000, nothing large")
    options = parser.parse_args()
    usual = Plan(
        options.rounds, options.notifications, 1_000, options.backlog, options.large, options.overdue
    )
    asyncio.run(main(Plan(1, 1_000, 200, 1_000, 0, 0) if options.quick else usual))
