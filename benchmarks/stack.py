"""A whole Tidings for a benchmark: its own data directory, PostgreSQL, sandbox and processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

import aiohttp
import msgspec
import psycopg

from benchmarks import processes
from tidings.listening import free_port
from tidings.postgres.use import embedded_postgres
from tidings.supervised import READY

ROOT = Path(__file__).parent.parent
START_SECONDS = 90.0
HOST = "127.0.0.1"
_BATCH = 500
_IN_FLIGHT = 2
"""Batches a client has under way: the next one is read while the last one commits."""


class Arrival(msgspec.Struct, frozen=True):
    """When a mail was accepted, and for whom: what the ledger's lines are read for."""

    to: tuple[str, ...]
    received_at: datetime


_arrival = msgspec.json.Decoder(Arrival).decode


class Unavailable(RuntimeError):
    """A 503: nothing is known to be stored, and the same batch may be sent again."""


class Stack:
    """A running `tidings up` and a client with a key of the instance ``bench``."""

    def __init__(
        self,
        process: subprocess.Popen[str],
        data: Path,
        environment: Mapping[str, str],
        url: str,
        session: aiohttp.ClientSession,
    ) -> None:
        self.process = process
        self.url = url
        self.data = data
        self.session = session
        self.smtp_port = int(environment["TIDINGS_SANDBOX__SMTP_PORT"])
        self._environment = environment
        self._workers: list[subprocess.Popen[bytes]] = []
        self.refused = 0
        """Batches that were to come again later (503)."""

    async def append(self, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Append one batch; raises for anything but success."""
        headers = {"Content-Type": "application/cloudevents-batch+json"}
        async with self.session.post(
            f"{self.url}/v1/events", data=msgspec.json.encode(events), headers=headers
        ) as answer:
            body = await answer.json(content_type=None)
            if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
                raise Unavailable(f"{answer.status}: {body}")
            if answer.status not in (200, 201):
                raise RuntimeError(f"{answer.status}: {body}")
            items: list[dict[str, Any]] = body["items"]
            return items

    async def append_all(self, events: Iterator[dict[str, Any]], *, batch: int = _BATCH) -> None:
        """As many as there are, a few batches at a time."""

        async def some() -> None:
            while taken := [event for _, event in zip(range(batch), events, strict=False)]:
                await self._append_when_it_may(taken)

        await asyncio.gather(*(some() for _ in range(_IN_FLIGHT)))

    async def _append_when_it_may(self, events: Sequence[dict[str, Any]]) -> None:
        while True:
            try:
                await self.append(events)
            except Unavailable:
                self.refused += 1
                await asyncio.sleep(0.2)
            else:
                return

    async def append_until_accepted(self, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """As a careful client does: the same batch again until it is answered."""
        while True:
            try:
                return await self.append(events)
            except (aiohttp.ClientError, RuntimeError, TimeoutError):
                await asyncio.sleep(0.2)

    async def accepted_messages(self) -> int:
        async with self.session.get(f"{self.url}/sandbox/messages?limit=0") as answer:
            return int((await answer.json())["count"])

    def ledger(self) -> list[dict[str, Any]]:
        """What the sandbox took responsibility for, straight from its file."""
        return [json.loads(line) for line in self._ledger_lines()]

    def arrivals(self) -> Iterator[Arrival]:
        """The same without their contents."""
        return map(_arrival, self._ledger_lines())

    def _ledger_lines(self) -> Iterator[bytes]:
        (file,) = self.data.glob("**/ledger.jsonl")
        with file.open("rb") as lines:
            yield from lines

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """As the owner of everything in it."""
        with (
            embedded_postgres(self.data) as conninfo,
            psycopg.connect(conninfo, autocommit=True) as connection,
        ):
            yield connection

    @asynccontextmanager
    async def workers(
        self, count: int, program: str = "tidings", **environment: str
    ) -> AsyncIterator[list[int]]:
        """So many worker processes, beside those of `tidings up`; their ids."""
        started = [self._start_worker(program, environment) for _ in range(count)]
        self._workers += [process for process, _ in started]
        try:
            await asyncio.gather(*(asyncio.to_thread(_hear, reader) for _, reader in started))
            yield [process.pid for process, _ in started]
        finally:
            for process, _ in started:
                process.terminate()
            await asyncio.gather(*(asyncio.to_thread(process.wait, 60) for process, _ in started))
            self._workers = [one for one in self._workers if one.returncode is None]

    def _start_worker(
        self, program: str, environment: Mapping[str, str]
    ) -> tuple[subprocess.Popen[bytes], int]:
        reader, writer = os.pipe()
        with (self.data / "worker.log").open("a") as log:
            process = subprocess.Popen(  # noqa: S603  # our own program
                [sys.executable, "-m", program, "worker"],
                cwd=ROOT,
                env={**self._environment, **environment, READY: str(writer)},
                pass_fds=[writer],
                stderr=log,
            )
        os.close(writer)
        return process, reader

    @contextmanager
    def front_at_rest(self) -> Iterator[None]:
        """Api and handler stand still meanwhile; they must have nothing under way."""
        front = [pid for pid, name in self._names().items() if name in ("api", "handler")]
        for pid in front:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in front:
                os.kill(pid, signal.SIGCONT)

    def children(self) -> dict[str, int]:
        """Process ids by name: api, handler, worker (one of them), sandbox, keeper, postmaster."""
        return {name: pid for pid, name in self._names().items()}

    def _names(self) -> dict[int, str]:
        found = {process.pid: "worker" for process in self._workers}
        for one in processes.running():
            if one.parent == self.process.pid and "-m tidings " in one.command:
                found[one.pid] = one.command.split("-m tidings ")[1].split()[0]
            elif "tidings.postgres.keeper" in one.command and str(self.data) in one.command:
                found[one.pid] = "keeper"
            elif processes.is_postmaster(one, self.data):
                found[one.pid] = "postmaster"
        return found

    def cpu_seconds(self) -> dict[str, float]:
        """User and system time so far by the process's name; PostgreSQL's together, and this client's."""
        totals = {"client": time.process_time()}
        names = self._names()
        for one in processes.running():
            name = names.get(one.pid) or names.get(one.parent, "")
            if name in ("postmaster", "keeper"):
                name = "postgres"
                seconds = processes.cpu_seconds(
                    one.pid, with_ended_children=names.get(one.pid) == "postmaster"
                )
            elif one.pid in names:
                seconds = processes.cpu_seconds(one.pid)
            else:
                continue
            totals[name] = totals.get(name, 0.0) + seconds
        return totals

    def peak_memory(self) -> dict[str, float]:
        """The most MiB a process of that name has had resident since it was started."""
        peaks: dict[str, float] = {}
        for pid, name in self._names().items():
            peaks[name] = max(peaks.get(name, 0.0), processes.peak_memory(pid))
        return peaks

    async def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        await asyncio.to_thread(self.process.wait, 60)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def user(number: int) -> dict[str, Any]:
    return _event(
        f"user-{number}",
        "user.human.added",
        f"user/{number}",
        user_name=f"user{number}",
        first_name="Ada",
        last_name=f"Number {number}",
        email=f"user{number}@bench.example",
        organisation_id="bench",
    )


def code(number: int) -> dict[str, Any]:
    return _event(
        f"code-{number}",
        "user.human.email.code.added",
        f"user/{number}",
        code=f"C{number:07d}",
        expiry=3600,
        trigger_origin="https://login.bench.example",
    )


def _event(event_id: str, event_type: str, subject: str, **data: object) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "source": "bench",
        "id": event_id,
        "type": event_type,
        "subject": subject,
        "data": data,
    }


def batches(events: Sequence[dict[str, Any]], size: int) -> list[Sequence[dict[str, Any]]]:
    return [events[start : start + size] for start in range(0, len(events), size)]


@asynccontextmanager
async def stack(**settings: str) -> AsyncIterator[Stack]:
    """Start everything in a directory of its own; stop and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="tidings-bench-") as directory:
        data = Path(directory)
        environment = _environment(data) | settings
        process = _start(data, environment)
        try:
            url = await asyncio.to_thread(_ready, process, data)
            async with aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {_key(environment)}"},
                timeout=aiohttp.ClientTimeout(total=30),
                # Sooner than the api lets go of it: nothing is sent on a connection that is being closed.
                connector=aiohttp.TCPConnector(keepalive_timeout=1),
            ) as session:
                yield Stack(process, data, environment, url, session)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(60)


def _start(data: Path, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    log = (data / "up.log").open("w")
    return subprocess.Popen(
        [sys.executable, "-m", "tidings", "up"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )


def _ready(process: subprocess.Popen[str], data: Path) -> str:
    assert process.stdout
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        line = process.stdout.readline()
        if line.startswith("ready "):
            return next(word for word in line.split() if word.startswith("http")).rstrip("/")
        if not line and process.poll() is not None:
            break
    raise RuntimeError(f"tidings did not start:\n{(data / 'up.log').read_text()[-2000:]}")


def _hear(reader: int) -> None:
    with os.fdopen(reader) as said:
        if not said.readline():
            raise RuntimeError("a worker did not start; what it said stands in worker.log")


def _key(environment: Mapping[str, str]) -> str:
    scopes = [word for scope in ("events:append", "notifications:read") for word in ("--scope", scope)]
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-m", "tidings", "keys", "create", "--instance", "bench", *scopes, "--json"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    key: str = json.loads(done.stdout)["key"]
    return key


def _environment(data: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TIDINGS_")}
    ports = {name: str(free_port(HOST)) for name in ("PORT", "SANDBOX__SMTP_PORT", "SANDBOX__HTTP_PORT")}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "PYTHONSAFEPATH": "1",
        "TIDINGS_DATA_DIR": str(data),
        **{f"TIDINGS_{name}": port for name, port in ports.items()},
    }
