"""From an accepted event to a mail accepted by the SMTP server: idle, and at 50 and 80 % of the peak.

The clock starts when the client holds the 2xx answer and stops when the sandbox has the mail on disk. Under
load events arrive at a steady rate whatever the answers (an open loop), a hundred small batches a second; the
peak is measured in the same round, by a burst. Told from the planned moment of arrival too, so that nothing
is hidden by an answer that comes late.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, figure, percentile
from benchmarks.long_texts import PROGRAM
from benchmarks.stack import Stack, code, stack, user
from tidings.worker_settings import worker_processes

TICK = 0.01
IDLE_PAUSE = 0.05
PATIENCE = 120.0
SHARES = {"at_50": 0.5, "at_80": 0.8}
_OPEN = "SELECT EXISTS (SELECT FROM due_notifications)"
_READ = """
SELECT min(position) >= (SELECT max(notification_id) FROM events)
  FROM tracking
 WHERE projection IN ('handler', 'history')
"""


class Plan(msgspec.Struct, frozen=True):
    rounds: int
    idle: int
    """Events on the idle system, one at a time."""
    burst: int
    seconds: float
    """Of load at each share of the peak, in each round."""


class Clocks(msgspec.Struct, frozen=True):
    """By address, when the event was planned to come and when the client knew that it is stored."""

    planned: dict[str, datetime] = {}
    accepted: dict[str, datetime] = {}


class Waits(msgspec.Struct, frozen=True):
    """Milliseconds to the accepted mail, from the 2xx answer and from the planned arrival."""

    answered: list[float]
    planned: list[float]


class Benchmark:
    def __init__(self, running: Stack, plan: Plan) -> None:
        self._running = running
        self._plan = plan
        self._numbers = itertools.count()
        self.waits: dict[str, list[Waits]] = {}
        self.peaks: list[float] = []

    async def round(self) -> None:
        await self._measured("idle", self._plan.idle, IDLE_PAUSE, batch=1)
        peak = await self._burst()
        self.peaks.append(peak)
        for name, share in SHARES.items():
            batch = max(round(peak * share * TICK), 1)
            pause = batch / (peak * share)
            await self._measured(name, round(self._plan.seconds / pause) * batch, pause, batch=batch)

    async def _measured(self, name: str, count: int, pause: float, *, batch: int) -> None:
        numbers = await self._known(count)
        clocks = Clocks({}, {})
        await self._arrive(numbers, pause, batch, clocks)
        await self._settled()
        received = {mail.to[0]: mail.received_at for mail in self._running.arrivals()}
        self.waits.setdefault(name, []).append(
            Waits(_between(clocks.accepted, received), _between(clocks.planned, received))
        )

    async def _arrive(self, numbers: Sequence[int], pause: float, batch: int, clocks: Clocks) -> None:
        """Each batch at its time, whatever became of the ones before it."""
        began, began_at = time.monotonic(), datetime.now(UTC)
        async with asyncio.TaskGroup() as group:
            for place, start in enumerate(range(0, len(numbers), batch)):
                await asyncio.sleep(max(began + place * pause - time.monotonic(), 0.0))
                planned = began_at + timedelta(seconds=place * pause)
                group.create_task(self._append(numbers[start : start + batch], planned, clocks))

    async def _append(self, numbers: Sequence[int], planned: datetime, clocks: Clocks) -> None:
        await self._running.append([code(number) for number in numbers])
        accepted = datetime.now(UTC)
        for number in numbers:
            clocks.planned[_address(number)], clocks.accepted[_address(number)] = planned, accepted

    async def _burst(self) -> float:
        """Notifications a second with everything at once."""
        numbers = await self._known(self._plan.burst)
        began = datetime.now(UTC)
        await self._running.append_all(map(code, numbers))
        await self._settled()
        wanted = set(map(_address, numbers))
        last = max(mail.received_at for mail in self._running.arrivals() if mail.to[0] in wanted)
        return len(numbers) / (last - began).total_seconds()

    async def _known(self, count: int) -> list[int]:
        numbers = list(itertools.islice(self._numbers, count))
        await self._running.append_all(map(user, numbers))
        await self._settled()
        return numbers

    async def _settled(self) -> None:
        """Until everything is decided, nothing is open, and the history has read it all."""
        with self._running.database() as connection:
            async with asyncio.timeout(PATIENCE):
                for statement, wanted in ((_READ, True), (_OPEN, False), (_READ, True)):
                    while (connection.execute(statement.encode()).fetchone() or (None,))[0] is not wanted:  # noqa: ASYNC110  # other processes make it true
                        await asyncio.sleep(0.1)


def _address(number: int) -> str:
    return f"user{number}@bench.example"


def _between(begun: dict[str, datetime], received: dict[str, datetime]) -> list[float]:
    return [(received[address] - moment).total_seconds() * 1000 for address, moment in begun.items()]


def _figures(waits: Sequence[Waits]) -> Iterator[tuple[str, Figure]]:
    for share in (0.5, 0.95, 0.99):
        yield f"p{share * 100:g}", figure([percentile(one.answered, share) for one in waits])
    yield "p99_from_arrival", figure([percentile(one.planned, 0.99) for one in waits])


def _summary(found: Benchmark) -> dict[str, float]:
    result: dict[str, float] = {}
    for name, waits in found.waits.items():
        for measure, value in _figures(waits):
            key = f"{name}_{measure}_ms" if name == "idle" else f"{measure}_ms_{name}"
            result[key] = round(value.median, 1)
    result |= {"p50_ms": result["idle_p50_ms"], "p99_ms": result["idle_p99_ms"]}
    return result | {"peak_per_s": round(figure(found.peaks).median, 1)}


def _print(found: Benchmark, workers: int) -> None:
    peak = figure(found.peaks)
    title = f"accepted event to accepted mail; peak {peak.shown()} a second, {workers} worker(s)"
    table = Table("load", "p50 ms", "p95 ms", "p99 ms", "p99 ms from arrival", title=title)
    for name, waits in found.waits.items():
        table.add_row(name, *(value.shown(1) for _, value in _figures(waits)))
    Console().print(table)


async def main(plan: Plan, workers: int) -> None:
    async with (
        stack(TIDINGS_WORKERS__PROCESSES="0") as running,
        running.workers(workers, PROGRAM),
    ):
        found = Benchmark(running, plan)
        for _ in range(plan.rounds):
            await found.round()
    _print(found, workers)
    print(json.dumps(_summary(found)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=300, help="on the idle system, in each round")
    parser.add_argument("--seconds", type=float, default=10.0, help="of load at each share, in each round")
    parser.add_argument("--workers", type=int, default=worker_processes(None, os.cpu_count() or 1))
    parser.add_argument("--quick", action="store_true", help="one round, little of everything")
    options = parser.parse_args()
    usual = Plan(options.rounds, options.events, 5_000, options.seconds)
    asyncio.run(main(Plan(1, 100, 1_500, 3.0) if options.quick else usual, options.workers))
