"""How a benchmark and the queue it measures speak: a line of JSON each way, on standard input and output.

Runs in the peers' own environment too, so it knows nothing but the standard library.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, Protocol

CONCURRENCY = 100
"""Jobs fetched at once, and under way at once, wherever a queue lets one say so."""
WARM_UP = 5
"""Jobs whose latency does not count."""


class Queue(Protocol):
    """One queue with one kind of job, which tells ``Runs`` its number and does nothing else."""

    version: str

    async def prepare(self, singly: int) -> None:
        """Make the tables; so many jobs will come one by one."""

    async def fill(self, jobs: int) -> None:
        """Enqueue jobs, as many at once as it can."""

    async def start(self) -> None:
        """Start a worker, which goes on until the process is killed."""

    async def enqueue(self, number: int) -> float:
        """Enqueue one job; when that began, on the monotonic clock."""


class Runs:
    """Which jobs have begun to run, and when."""

    def __init__(self) -> None:
        self.at: dict[int, float] = {}
        self._wanted = 0
        self._enough = asyncio.Event()

    def ran(self, number: int) -> None:
        """Only the first time counts: some queues promise no more than at least once."""
        self.at.setdefault(number, time.monotonic())
        if len(self.at) == self._wanted:
            self._enough.set()

    async def reach(self, wanted: int) -> None:
        self._wanted = wanted
        self._enough.clear()
        if len(self.at) < wanted:
            await self._enough.wait()


async def converse(queue: Queue, runs: Runs) -> None:
    """Obey until nobody is there any more; then end at once, as when killed: its database is thrown away."""
    await _say({"version": queue.version})
    while line := await asyncio.to_thread(sys.stdin.readline):
        wish: dict[str, Any] = json.loads(line)
        match wish["do"]:
            case "prepare":
                await queue.prepare(wish["singly"])
                await _say({})
            case "fill":
                await queue.fill(wish["jobs"])
                await _say({})
            case "drain":
                await _say({"began": await _drain(queue, runs, wish["jobs"], wish["uncounted"])})
            case "idle":
                await _say({"seconds": await _idle(queue, runs, wish["pauses"])})
            case other:
                raise ValueError(other)
    os._exit(0)


async def _drain(queue: Queue, runs: Runs, jobs: int, uncounted: int) -> float:
    """When the first job that counts began; returns once every job has run, recorded or not."""
    await queue.start()
    await runs.reach(jobs)
    return sorted(runs.at.values())[uncounted]


async def _idle(queue: Queue, runs: Runs, pauses: Sequence[float]) -> list[float]:
    """Seconds from enqueueing to the start of the job, each after a pause; none waits for the one before."""
    await queue.start()
    asked: dict[int, float] = {}
    for number, pause in enumerate(pauses):
        await asyncio.sleep(pause)
        asked[number] = await queue.enqueue(number)
        if number < WARM_UP:
            await runs.reach(number + 1)
    await runs.reach(len(pauses))
    return [runs.at[number] - at for number, at in asked.items() if number >= WARM_UP]


async def _say(answer: dict[str, Any]) -> None:
    await asyncio.to_thread(_print, json.dumps(answer))


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
