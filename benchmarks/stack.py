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
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp
import psycopg

from tidings.postgres.use import embedded_postgres

ROOT = Path(__file__).parent.parent
START_SECONDS = 90.0


class Stack:
    """A running `tidings up` and a client with a key of the instance ``bench``."""

    def __init__(
        self, process: subprocess.Popen[str], url: str, data: Path, session: aiohttp.ClientSession
    ) -> None:
        self.process = process
        self.url = url
        self.data = data
        self.session = session

    async def append(self, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Append one batch; raises for anything but success."""
        headers = {"Content-Type": "application/cloudevents-batch+json"}
        async with self.session.post(
            f"{self.url}/v1/events", data=json.dumps(events), headers=headers
        ) as answer:
            body = await answer.json(content_type=None)
            if answer.status not in (200, 201):
                raise RuntimeError(f"{answer.status}: {body}")
            items: list[dict[str, Any]] = body["items"]
            return items

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
        (file,) = self.data.glob("**/ledger.jsonl")
        return [json.loads(line) for line in file.read_text().splitlines()]

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        with (
            embedded_postgres(self.data) as conninfo,
            psycopg.connect(conninfo, autocommit=True) as connection,
        ):
            yield connection

    def children(self) -> dict[str, int]:
        """Process ids by name: api, handler, worker-1, sandbox, keeper, postmaster."""
        found = {}
        for pid, parent, command in _processes():
            if parent == self.process.pid and "-m tidings " in command:
                found[command.split("-m tidings ")[1].split()[0]] = pid
            elif "tidings.postgres.keeper" in command and str(self.data) in command:
                found["keeper"] = pid
            elif str(self.data) in command and "/postgres" in command.split(" ")[0] and " -D" in command:
                found["postmaster"] = pid
        return found

    def cpu_seconds(self) -> dict[str, float]:
        """User and system time so far, by process; PostgreSQL's backends together."""
        totals: dict[str, float] = {}
        names = {pid: name for name, pid in self.children().items()}
        for pid, parent, command in _processes():
            name = names.get(pid) or ("postgres" if command.startswith("postgres: ") else "")
            if names.get(pid) in ("postmaster", "keeper") or names.get(parent) == "postmaster":
                name = "postgres"
            if name:
                totals[name] = totals.get(name, 0.0) + _cpu_of(pid)
        return totals

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
        process = _start(data, settings)
        try:
            url = await asyncio.to_thread(_ready, process, data)
            key = _key(data)
            timeout = aiohttp.ClientTimeout(total=30)
            async with aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {key}"}, timeout=timeout
            ) as session:
                yield Stack(process, url, data, session)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(60)


def _start(data: Path, settings: dict[str, str]) -> subprocess.Popen[str]:
    log = (data / "up.log").open("w")
    return subprocess.Popen(  # noqa: S603  # our own program
        [sys.executable, "-m", "tidings", "up", "--data-dir", str(data)],
        cwd=ROOT,
        env=_environment() | settings | {"TIDINGS_PORT": str(_free_port())},
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


def _key(data: Path) -> str:
    scopes = [word for scope in ("events:append", "notifications:read") for word in ("--scope", scope)]
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-m", "tidings", "keys", "create", "--instance", "bench", *scopes, "--json"],
        cwd=ROOT,
        env=_environment() | {"TIDINGS_DATA_DIR": str(data)},
        capture_output=True,
        text=True,
        check=True,
    )
    key: str = json.loads(done.stdout)["key"]
    return key


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TIDINGS_")}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}


def _free_port() -> int:
    import socket  # noqa: PLC0415  # needed nowhere else

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _processes() -> Iterator[tuple[int, int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            yield int(entry.name), parent, command.strip()


def _cpu_of(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
