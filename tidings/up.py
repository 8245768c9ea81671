"""`tidings up`: the database, the sandbox, api, handler and workers, under one supervisor."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, closing, contextmanager

import msgspec

from tidings.announcing import Announce
from tidings.child import PATIENCE, ChildPlan
from tidings.composition import Report, bring_up_to_date, database_address, deployment_key
from tidings.demo import play_demo
from tidings.errors import TidingsError
from tidings.listening import bound_socket, free_port, listen, local_url
from tidings.postgres.locks import EXCLUSIVE, take_if_free
from tidings.rest import Service
from tidings.sandbox_use import LOOPBACK, routes_in_words, sandbox_is_wanted
from tidings.settings import Settings
from tidings.settings_file import settings_file
from tidings.settings_names import PREFIX
from tidings.supervised import LISTEN
from tidings.supervisor import StopRequests, Supervisor
from tidings.worker_settings import worker_processes

READY_SECONDS = 60.0
_LOOK_SECONDS = 0.05


class Voices(msgspec.Struct, frozen=True):
    """Where `up` speaks: its results, its progress, and what nobody should overlook."""

    announce: Announce
    report: Report
    proclaim: Report


async def run_everything(settings: Settings, voices: Voices, *, demo: bool) -> None:
    """Until a signal. Raises TidingsError and its kin when it cannot start."""
    stop = StopRequests()
    with (
        stop.heard(),
        _sole_user(settings),
        closing(bound_socket(settings.host, settings.port)) as door,
    ):
        async with AsyncExitStack() as held:
            plans = await _prepare(settings, voices, door, held)
            if not stop.asked.is_set():
                await _supervise(plans, stop, _After(settings, voices, demo=demo))


class _After:
    """What follows once the processes run: the ready line, then the demo."""

    def __init__(self, settings: Settings, voices: Voices, *, demo: bool) -> None:
        self.url = local_url(settings.host, settings.port)
        self._settings = settings
        self._voices = voices
        self._demo = demo

    async def ready(self) -> None:
        await answers(self.url)
        self._voices.announce("ready", [f"ready {self.url}"], address=self.url)

    async def demo(self) -> None:
        if self._demo:
            await play_demo(self._settings, self.url, self._voices.announce)


async def _supervise(plans: Sequence[Sequence[ChildPlan]], stop: StopRequests, after: _After) -> None:
    supervisor = Supervisor(plans, stop)
    try:
        if await supervisor.start() and await stop.unless_asked(after.ready()):
            demo = asyncio.create_task(after.demo())
            await supervisor.watch()
            demo.cancel()
            await asyncio.gather(demo, return_exceptions=True)
    finally:
        await supervisor.stop()


async def _prepare(
    settings: Settings, voices: Voices, door: socket.socket, held: AsyncExitStack
) -> list[list[ChildPlan]]:
    for route in routes_in_words(settings):
        voices.proclaim(route)
    voices.report("starting PostgreSQL" if settings.database_url is None else "reaching PostgreSQL")
    address = await asyncio.to_thread(
        held.enter_context, database_address(settings, voices.report, wait_for_stop=True)
    )
    await asyncio.to_thread(bring_up_to_date, settings, address, voices.report)
    deployment_key(settings)
    listen(door)
    voices.report("starting api, handler and workers")
    return plans_for(settings, address, door)


def plans_for(settings: Settings, address: str, door: socket.socket) -> list[list[ChildPlan]]:
    """The processes in waves: the sandbox first and last, so that no worker ever misses it."""
    shared = _shared_environment(settings, address)
    sandbox = sandbox_is_wanted(settings) and not settings.sandbox.url
    if sandbox:
        shared |= _sandbox_ports(settings)
    number = door.fileno()
    api = ChildPlan("api", ("api",), {**shared, LISTEN: str(number)}, (number,))
    # A worker has its own bound for what it has begun, and then a moment for its last words.
    patience = settings.workers.stop_timeout.total_seconds() + PATIENCE
    workers = [
        ChildPlan(f"worker-{count}", ("worker",), shared | _metrics_port(settings, count), patience=patience)
        for count in range(1, worker_processes(settings.workers.processes, os.cpu_count() or 1) + 1)
    ]
    return [
        [ChildPlan("sandbox", ("sandbox",), {**shared, f"{PREFIX}HOST": LOOPBACK})] if sandbox else [],
        [ChildPlan("handler", ("handler",), shared), *workers],
        [api],
    ]


def _metrics_port(settings: Settings, count: int) -> dict[str, str]:
    """Each worker has a port of its own, counted from 1."""
    first = settings.workers.metrics_port
    return {} if first is None else {f"{PREFIX}WORKERS__METRICS_PORT": str(first + count - 1)}


def _shared_environment(settings: Settings, address: str) -> dict[str, str]:
    file = settings_file(os.environ)
    return {
        f"{PREFIX}DATABASE_URL": address,
        f"{PREFIX}DATA_DIR": str(settings.data_dir),
        **({f"{PREFIX}CONFIG": str(file)} if file else {}),
    }


def _sandbox_ports(settings: Settings) -> dict[str, str]:
    smtp = settings.sandbox.smtp_port or free_port(LOOPBACK)
    http = settings.sandbox.http_port or free_port(LOOPBACK)
    return {f"{PREFIX}SANDBOX__SMTP_PORT": str(smtp), f"{PREFIX}SANDBOX__HTTP_PORT": str(http)}


@contextmanager
def _sole_user(settings: Settings) -> Iterator[None]:
    """One `tidings up` a data directory; the lock goes with the process, however it ends."""
    file = settings.data_dir / "up.lock"
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        lock = take_if_free(file, EXCLUSIVE)
    except OSError as error:
        raise TidingsError(
            f"the data directory {settings.data_dir} cannot be used: {error.strerror}"
        ) from None
    if lock is None:
        raise TidingsError(
            f"another `tidings up` runs in {settings.data_dir}; stop it or use another --data-dir"
        )
    with lock:
        yield


async def answers(url: str) -> None:
    """Wait until the API calls itself ready. Raises TidingsError when that takes too long."""
    async with Service(url) as service, asyncio.timeout(READY_SECONDS):
        while True:
            try:
                await service.get("/health/ready")
            except TidingsError:
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                return
