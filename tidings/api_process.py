"""The REST API as a process of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager

import uvicorn
from starlette.types import ASGIApp

from api.app import create_app
from api.dependencies import ApiDependencies
from event_log.intake import Intake
from event_log.log import Log
from tidings.callbacks import callbacks
from tidings.composition import clock, deployment_key, process_log
from tidings.handler_process import deployment
from tidings.listening import bound_socket
from tidings.running import run_fast, stop_on_signals
from tidings.sandbox.proxy import sandbox_disabled, sandbox_proxy
from tidings.sandbox_use import sandbox_place
from tidings.settings import Settings
from tidings.supervised import inherited_sockets, say_ready

CONNECTIONS = 8
GRACE_SECONDS = 5


def run_api_process(settings: Settings) -> None:
    """Until a signal."""
    doors = inherited_sockets() or [bound_socket(settings.host, settings.port)]
    with process_log(settings, "api", CONNECTIONS) as log:
        run_fast(_serve(settings, log, doors))


async def _serve(settings: Settings, log: Log, doors: list[socket.socket]) -> None:
    with closing(Intake(log)) as intake, stop_on_signals() as stop:
        async with _sandbox(settings) as sandbox:
            app = create_app(_dependencies(settings, log, intake), mounts={"/sandbox": sandbox})
            await _Server(app, stop).serve(doors)


def _dependencies(settings: Settings, log: Log, intake: Intake) -> ApiDependencies:
    return ApiDependencies(
        database=log.database,
        log=log,
        intake=intake,
        clock=clock,
        cursor_key=deployment_key(settings).derive("page cursors"),
        deployment=deployment(settings),
        callbacks=callbacks(settings),
    )


@asynccontextmanager
async def _sandbox(settings: Settings) -> AsyncIterator[ASGIApp]:
    place = sandbox_place(settings)
    if place is None:
        yield sandbox_disabled
        return
    proxy = sandbox_proxy(place.base_url)
    try:
        yield proxy
    finally:
        await proxy.close()


class _Server(uvicorn.Server):
    """Ends when ``stop`` is set, and says when it listens."""

    def __init__(self, app: ASGIApp, stop: asyncio.Event) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self._stop = stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._waiting = asyncio.create_task(self._until_stopped())
        say_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are heard elsewhere; the library would raise them again at the end."""
        yield

    async def _until_stopped(self) -> None:
        await self._stop.wait()
        self.should_exit = True
