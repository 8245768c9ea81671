"""A proving ground: PostgreSQL, a sandbox, and processes of Tidings that come back when they are killed."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.offspring import Nursery, Offspring, nursery
from event_log.api_keys import SCOPES, create_key
from tidings.composition import bring_up_to_date, clock, open_log
from tidings.listening import bound_socket, free_port, listen, local_url
from tidings.postgres.use import embedded_postgres
from tidings.settings import Settings

HOST = "127.0.0.1"


class Slot:
    """One process of the ground and its successors."""

    def __init__(self, name: str, ground: Ground, *, planted: bool = False) -> None:
        self.name = name
        self.born = 0
        self.now: Offspring | None = None
        self.frozen = False
        self._ground = ground
        self._planted = planted
        self._keeping = asyncio.create_task(self._keep())

    @property
    def works(self) -> bool:
        one = self.now
        return (
            one is not None and one.ready.is_set() and not (one.doomed or one.ended.is_set() or self.frozen)
        )

    async def _keep(self) -> None:
        while True:
            self.born += 1
            self.now = await self._ground.spawn(self.name, planted=self._planted)
            await self.now.ended.wait()

    async def stop(self) -> None:
        self._keeping.cancel()
        if self.now is not None:
            self.now.kill()
            await self.now.ended.wait()


class Ground:
    """Where processes run; ``url`` is the API's, ``key`` may do everything in the instance ``bench``."""

    def __init__(self, data: Path, conninfo: str, key: str, url: str) -> None:
        self.data = data
        self.conninfo = conninfo
        self.key = key
        self.url = url
        self.environment: dict[str, str] = {}
        self._nursery: Nursery
        self.slots: list[Slot] = []

    async def open(self, held: AsyncExitStack, door: socket.socket, settings: Mapping[str, str]) -> None:
        ports = {name: str(free_port(HOST)) for name in ("SMTP_PORT", "HTTP_PORT")}
        self.environment = {
            "PATH": os.environ.get("PATH", ""),
            "TIDINGS_DATABASE_URL": self.conninfo,
            "TIDINGS_DATA_DIR": str(self.data),
            "TIDINGS_LISTEN_FD": str(door.fileno()),
            **{f"TIDINGS_SANDBOX__{name}": port for name, port in ports.items()},
            **settings,
        }
        self._nursery = await held.enter_async_context(nursery(descriptors=[door.fileno()]))
        sandbox = await self.spawn("sandbox")
        await sandbox.ready.wait()
        self.sandbox_url = f"http://{HOST}:{ports['HTTP_PORT']}"

    async def spawn(self, name: str, *, planted: bool = False, **environment: str) -> Offspring:
        """``name`` is a command's, with a number behind it where there are several."""
        return await self._nursery.spawn(
            [name.partition("-")[0]],
            self.environment | {"TIDINGS_PROCESS": name} | environment,
            directory=self.data,
            log=self.data / f"{name}.log",
            planted=planted,
        )

    async def keep(self, names: Sequence[str], *, planted: bool = False) -> None:
        """Start these, start them again whenever they die, and wait until each works."""
        self.slots += [Slot(name, self, planted=planted) for name in names]
        while not all(slot.works for slot in self.slots):  # noqa: ASYNC110  # processes of their own
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        await asyncio.gather(*(slot.stop() for slot in self.slots))
        self.slots.clear()

    def ledger(self) -> list[dict[str, Any]]:
        """What the sandbox took responsibility for, from its file."""
        file = self.data / "sandbox" / "ledger.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()]

    async def slow_providers(self, seconds: float) -> None:
        """Let each answer take a while after the message was taken, as real providers do."""
        async with aiohttp.ClientSession() as session:
            for channel, stage in (("email", "dot"), ("sms", "reply")):
                fault = {"channel": channel, "stage": stage, "action": "delay"}
                fault |= {"seconds": seconds, "count": -1}
                async with session.post(f"{self.sandbox_url}/sandbox/faults", json=fault) as answer:
                    answer.raise_for_status()


@asynccontextmanager
async def ground(**settings: str) -> AsyncIterator[Ground]:
    """Everything in a directory of its own, which is removed afterwards with all processes."""
    async with AsyncExitStack() as held:
        data = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="tidings-ground-")))
        conninfo = await asyncio.to_thread(held.enter_context, embedded_postgres(data, wait_for_stop=True))
        key = await asyncio.to_thread(_prepare, data, conninfo)
        door = held.enter_context(closing(bound_socket(HOST, 0)))
        listen(door)
        made = Ground(data, conninfo, key, local_url(HOST, door.getsockname()[1]))
        await made.open(held, door, settings)
        held.push_async_callback(made.stop)
        yield made


def _prepare(data: Path, conninfo: str) -> str:
    settings = Settings(data_dir=data)
    bring_up_to_date(settings, conninfo, lambda _: None)
    with open_log(settings, conninfo, "bench") as log:
        _, text = create_key(log.database, "bench", SCOPES, "bench", clock(), os.urandom)
    return text
