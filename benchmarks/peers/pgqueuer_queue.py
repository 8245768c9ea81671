"""pgqueuer, on psycopg or on asyncpg."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from importlib.metadata import version
from typing import Any

import asyncpg
import psycopg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.models import Job
from psycopg.conninfo import conninfo_to_dict

from benchmarks.peers.speaking import CONCURRENCY, Runs, converse

ENTRYPOINT = "nothing"


class PgqueuerQueue:
    version = version("pgqueuer")

    def __init__(self, queuer: PgQueuer, connection: Any, runs: Runs) -> None:  # noqa: ANN401  # either driver's
        self._queuer = queuer
        self._connection = connection
        self._worker: asyncio.Task[None] | None = None

        @queuer.entrypoint(ENTRYPOINT)
        async def nothing(job: Job) -> None:
            runs.ran(int(job.payload or b"0"))

    async def prepare(self, *, idle: bool) -> None:
        del idle
        await self._queuer.queries.install()

    async def fill(self, jobs: int) -> None:
        for start in range(0, jobs, 1000):
            payloads: list[bytes | None] = [b"%d" % number for number in range(start, min(start + 1000, jobs))]
            count = len(payloads)
            await self._queuer.queries.enqueue([ENTRYPOINT] * count, payloads, [0] * count)

    async def start(self) -> None:
        self._worker = asyncio.create_task(self._queuer.qm.run(batch_size=CONCURRENCY))

    async def enqueue(self, number: int) -> float:
        began = time.monotonic()
        await self._queuer.queries.enqueue(ENTRYPOINT, b"%d" % number)
        return began

    async def stop(self) -> None:
        if self._worker:
            self._queuer.shutdown.set()
            await asyncio.wait([self._worker], timeout=5)
        await self._connection.close()


async def open_queue(conninfo: str, driver: str, runs: Runs) -> PgqueuerQueue:
    connection: Any
    if driver == "asyncpg":
        given = conninfo_to_dict(conninfo)
        names = {"host": "host", "port": "port", "user": "user", "dbname": "database"}
        connection = await asyncpg.connect(**{names[key]: given[key] for key in names if key in given})
        queuer = PgQueuer.from_asyncpg_connection(connection)
    else:
        connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
        queuer = PgQueuer.from_psycopg_connection(connection)
    return PgqueuerQueue(queuer, connection, runs)


async def main(conninfo: str, driver: str) -> None:
    logging.disable(logging.WARNING)
    runs = Runs()
    await converse(await open_queue(conninfo, driver, runs), runs)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1], sys.argv[2]))
