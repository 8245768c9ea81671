"""One queue that takes part in a benchmark: its processes, its databases, and how many jobs it has left."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from benchmarks.peers.cache import ROOT
from benchmarks.peers.speaking import CONCURRENCY

FILL_SECONDS = 180.0
_LINES = 16 * 1024 * 1024
_LOOK = 0.002


class ContenderFailed(Exception):
    """A queue did not do what it was asked to."""


class Contender(msgspec.Struct, frozen=True):
    """How to run a queue and how to ask PostgreSQL what it has left to do."""

    name: str
    how: str
    """Its driver, batch and concurrency, for a person."""
    command: tuple[str, ...]
    """``{conninfo}`` and ``{address}`` stand for the database, as libpq and as Node write it."""
    left: str
    """A query for the number of jobs that are not recorded as done."""
    environment: Mapping[str, str] = {}
    proof: str = ""
    """A query that must give as many as there were jobs once none is left."""


class Drained(msgspec.Struct, frozen=True):
    version: str
    jobs: int
    """Done and recorded; fewer than there were when the time was over."""
    seconds: float

    @property
    def per_second(self) -> float:
        return self.jobs / self.seconds


class Conversation:
    """A process of a contender, which answers each wish with a line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.version = ""
        self._process = process

    async def begin(self) -> None:
        """Raises as ``ask`` does."""
        self.version = (await self._hear(FILL_SECONDS))["version"]

    async def ask(self, within: float, **wish: object) -> dict[str, Any]:
        """Raises TimeoutError, and ContenderFailed when the process has ended."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(wish).encode() + b"\n")
        return await self._hear(within)

    async def _hear(self, within: float) -> dict[str, Any]:
        assert self._process.stdout
        async with asyncio.timeout(within):
            while line := await self._process.stdout.readline():
                if line.startswith(b"{"):
                    answer: dict[str, Any] = json.loads(line)
                    return answer
        raise ContenderFailed("it ended early; what it said stands above")

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()


@asynccontextmanager
async def _conversation(contender: Contender, conninfo: str) -> AsyncIterator[Conversation]:
    words = {"{conninfo}": conninfo, "{address}": json.dumps(_address(conninfo))}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TIDINGS_", "PG"))}
    process = await asyncio.create_subprocess_exec(
        *(words.get(word, word) for word in contender.command),
        cwd=ROOT,
        env=kept | {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"} | contender.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        limit=_LINES,
    )
    held = Conversation(process)
    try:
        await held.begin()
        yield held
    except (ConnectionError, TimeoutError) as error:
        raise ContenderFailed(f"it stopped answering ({type(error).__name__})") from error
    finally:
        held.kill()
        await process.wait()


def _address(conninfo: str) -> dict[str, str]:
    given = psycopg.conninfo.conninfo_to_dict(conninfo)
    names = {"host": "host", "port": "port", "user": "user", "dbname": "database"}
    return {names[key]: str(value) for key, value in given.items() if key in names}


class Server:
    """The PostgreSQL that all share, with a database for each run."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo

    def create(self, name: str, template: str = "template1") -> str:
        """The address of a new database."""
        self._run("CREATE DATABASE {} TEMPLATE {}", name, template)
        return make_conninfo(self._conninfo, dbname=name)

    def drop(self, name: str) -> None:
        self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    @contextmanager
    def lent(self, name: str, template: str = "template1") -> Iterator[str]:
        try:
            yield self.create(name, template)
        finally:
            self.drop(name)

    def settle(self, conninfo: str) -> None:
        """What was written so far is to cost nobody's measure anything."""
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")

    def _run(self, statement: str, *names: str) -> None:
        with psycopg.connect(self._conninfo, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*(sql.Identifier(name) for name in names)))


async def fill(server: Server, contender: Contender, jobs: int) -> None:
    """Keep a backlog in a database that each run gets a copy of."""
    name = _backlog(contender)
    server.drop(name)
    conninfo = server.create(name)
    async with _conversation(contender, conninfo) as speaking:
        await speaking.ask(FILL_SECONDS, do="prepare", singly=0)
        await speaking.ask(FILL_SECONDS, do="fill", jobs=jobs)
    server.settle(conninfo)


async def drain(server: Server, contender: Contender, jobs: int, limit: float) -> Drained:
    """Until PostgreSQL has recorded every job as done; what a worker does once, at first, does not count."""
    uncounted = max(CONCURRENCY, jobs // 10)
    with server.lent(f"{contender.name}_run", _backlog(contender)) as conninfo:
        async with _conversation(contender, conninfo) as speaking:
            asked = time.monotonic()
            try:
                answer = await speaking.ask(limit, do="drain", jobs=jobs, uncounted=uncounted)
                ended = await _recorded(conninfo, contender, asked + limit)
            except TimeoutError:
                return _cut_short(conninfo, contender, speaking.version, jobs, limit)
        _check(conninfo, contender, jobs)
        return Drained(speaking.version, jobs - uncounted, ended - answer["began"])


def _cut_short(conninfo: str, contender: Contender, version: str, jobs: int, limit: float) -> Drained:
    done = jobs - _count(conninfo, contender.left)
    if not done:
        raise ContenderFailed(f"it did nothing within {limit:g} s")
    return Drained(version, done, limit)


async def _recorded(conninfo: str, contender: Contender, deadline: float) -> float:
    """When nothing was left; raises TimeoutError when something still is."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        while _number(connection, contender.left):
            if time.monotonic() > deadline:
                raise TimeoutError
            await asyncio.sleep(_LOOK)
        return time.monotonic()


def _check(conninfo: str, contender: Contender, jobs: int) -> None:
    """Raises ContenderFailed when the queue is empty for another reason than that all was done."""
    proven = _count(conninfo, contender.proof) if contender.proof else jobs
    if proven != jobs:
        raise ContenderFailed(f"{contender.name}: {proven} of {jobs} jobs were done as they should be")


async def idle(server: Server, contender: Contender, pauses: Sequence[float]) -> list[float]:
    """Seconds from enqueueing a job to its start, on a queue that is idle otherwise."""
    with server.lent(f"{contender.name}_idle") as conninfo:
        async with _conversation(contender, conninfo) as speaking:
            await speaking.ask(FILL_SECONDS, do="prepare", singly=len(pauses))
            answer = await speaking.ask(sum(pauses) + 60, do="idle", pauses=list(pauses))
    return sorted(answer["seconds"])


def _backlog(contender: Contender) -> str:
    return f"{contender.name}_backlog"


def _count(conninfo: str, query: str) -> int:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        return _number(connection, query)


def _number(connection: psycopg.Connection[tuple[Any, ...]], query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row
    return int(row[0])
