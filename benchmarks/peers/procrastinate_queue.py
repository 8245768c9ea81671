"""procrastinate, on its own driver psycopg."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from importlib.metadata import version

import procrastinate
import uvloop

from benchmarks.peers.speaking import CONCURRENCY, Runs, converse


class ProcrastinateQueue:
    version = version("procrastinate")

    def __init__(self, conninfo: str, runs: Runs) -> None:
        connector = procrastinate.PsycopgConnector(conninfo=conninfo, max_size=10)
        self._app = procrastinate.App(connector=connector)
        self._worker: asyncio.Task[None] | None = None

        @self._app.task(name="nothing")
        async def nothing(number: int) -> None:
            runs.ran(number)

        self._nothing = nothing

    async def open(self) -> None:
        await self._app.open_async()

    async def prepare(self, singly: int) -> None:
        del singly
        await self._app.schema_manager.apply_schema_async()

    async def fill(self, jobs: int) -> None:
        for start in range(0, jobs, 1000):
            numbers = range(start, min(start + 1000, jobs))
            await self._nothing.batch_defer_async(*({"number": number} for number in numbers))

    async def start(self) -> None:
        work = self._app.run_worker_async(concurrency=CONCURRENCY, install_signal_handlers=False)
        self._worker = asyncio.create_task(work)

    async def enqueue(self, number: int) -> float:
        began = time.monotonic()
        await self._nothing.defer_async(number=number)
        return began


async def main(conninfo: str) -> None:
    logging.disable(logging.WARNING)
    runs = Runs()
    queue = ProcrastinateQueue(conninfo, runs)
    await queue.open()
    await converse(queue, runs)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1]))
