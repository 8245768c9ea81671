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
    """The worker has a connection to itself, because on psycopg it keeps it while it listens."""

    version = version("pgqueuer")

    def __init__(self, worker: PgQueuer, client: PgQueuer, runs: Runs) -> None:
        self._worker, self._client = worker, client
        self._working: asyncio.Task[None] | None = None

        @worker.entrypoint(ENTRYPOINT)
        async def nothing(job: Job) -> None:
            runs.ran(int(job.payload or b"0"))

    async def prepare(self, singly: int) -> None:
        del singly
        await self._client.queries.install()

    async def fill(self, jobs: int) -> None:
        for start in range(0, jobs, 1000):
            payloads: list[bytes | None] = [
                b"%d" % number for number in range(start, min(start + 1000, jobs))
            ]
            count = len(payloads)
            await self._client.queries.enqueue([ENTRYPOINT] * count, payloads, [0] * count)

    async def start(self) -> None:
        self._working = asyncio.create_task(self._worker.qm.run(batch_size=CONCURRENCY))

    async def enqueue(self, number: int) -> float:
        began = time.monotonic()
        await self._client.queries.enqueue(ENTRYPOINT, b"%d" % number)
        return began


async def connect(conninfo: str, driver: str) -> PgQueuer:
    if driver == "asyncpg":
        given = conninfo_to_dict(conninfo)
        names = {"host": "host", "port": "port", "user": "user", "dbname": "database"}
        address: dict[str, Any] = {names[key]: given[key] for key in names if key in given}
        return PgQueuer.from_asyncpg_connection(await asyncpg.connect(**address))
    connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
    return PgQueuer.from_psycopg_connection(connection)


async def main(conninfo: str, driver: str) -> None:
    logging.disable(logging.WARNING)
    runs = Runs()
    worker, client = [await connect(conninfo, driver) for _ in range(2)]
    await converse(PgqueuerQueue(worker, client, runs), runs)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1], sys.argv[2]))
