"""Runs the sandbox: mail, text messages, webhooks, the JSON API and the page, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from aiohttp import web

from tidings.sandbox.answers import problems
from tidings.sandbox.desk import Desk, Sources
from tidings.sandbox.fault_api import FaultApi
from tidings.sandbox.faults import FaultBook
from tidings.sandbox.ledger import open_ledger
from tidings.sandbox.message_api import MessageApi
from tidings.sandbox.page import page_routes
from tidings.sandbox.smtp_listener import smtp_listener
from tidings.sandbox.smtp_session import LARGEST_MAIL
from tidings.sandbox.status_callbacks import StatusCallbacks
from tidings.sandbox.twilio_messages import TwilioMessages
from tidings.sandbox.twilio_verify import TwilioVerify
from tidings.sandbox.webhook_receiver import WebhookReceiver

LEDGER = "ledger.jsonl"
_GRACE = 0.5
"""Seconds that a request in hand has left when the sandbox stops."""


class SandboxAddress(msgspec.Struct, frozen=True):
    host: str
    smtp_port: int
    http_port: int

    @property
    def base_url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.http_port}"


async def run_sandbox(  # noqa: PLR0913 - where to listen is three of them
    directory: Path,
    *,
    host: str = "127.0.0.1",
    smtp_port: int = 0,
    http_port: int = 0,
    started: Callable[[SandboxAddress], None],
    stop: asyncio.Event,
    sources: Sources | None = None,
) -> None:
    """Runs until ``stop`` is set; calls ``started`` once both ports accept. A port of 0 asks for a free one.

    Raises LedgerInUse, LedgerUnreadable, and OSError when a port is taken.
    """
    async with sandbox(
        directory, host=host, smtp_port=smtp_port, http_port=http_port, sources=sources
    ) as address:
        started(address)
        await stop.wait()


@asynccontextmanager
async def sandbox(
    directory: Path,
    *,
    host: str = "127.0.0.1",
    smtp_port: int = 0,
    http_port: int = 0,
    sources: Sources | None = None,
) -> AsyncIterator[SandboxAddress]:
    """The sandbox inside the running loop; raises as ``run_sandbox`` does."""
    with open_ledger(directory / LEDGER) as ledger:
        desk = Desk(ledger, FaultBook(), sources or Sources())
        async with (
            smtp_listener(desk, host, smtp_port) as bound_smtp_port,
            _http_listener(desk, host, http_port) as bound_http_port,
        ):
            yield SandboxAddress(host, bound_smtp_port, bound_http_port)


@asynccontextmanager
async def _http_listener(desk: Desk, host: str, port: int) -> AsyncIterator[int]:
    callbacks = StatusCallbacks()
    # Cancelling with the client frees what a hang or a delay holds.
    runner = web.AppRunner(
        _application(desk, callbacks), access_log=None, handler_cancellation=True, shutdown_timeout=_GRACE
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await callbacks.close()
        await runner.cleanup()


def _application(desk: Desk, callbacks: StatusCallbacks) -> web.Application:
    application = web.Application(middlewares=[problems], client_max_size=LARGEST_MAIL)
    application.add_routes(
        [
            *page_routes(),
            *MessageApi(desk.ledger).routes(),
            *FaultApi(desk.faults).routes(),
            *TwilioMessages(desk, callbacks).routes(),
            *TwilioVerify(desk).routes(),
            *WebhookReceiver(desk).routes(),
        ]
    )
    return application
