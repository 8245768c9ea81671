"""Listens for SMTP connections and ends them all when the sandbox stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tidings.sandbox.desk import Desk
from tidings.sandbox.smtp_session import SmtpSession
from tidings.sandbox.smtp_wire import SmtpWire


@asynccontextmanager
async def smtp_listener(desk: Desk, host: str, port: int) -> AsyncIterator[int]:
    """Yields the port it listens on; 0 asks for a free one."""
    conversations: set[asyncio.Task[None]] = set()

    def connected(wire: SmtpWire) -> None:
        conversation = asyncio.create_task(SmtpSession(wire, desk).converse())
        conversations.add(conversation)
        conversation.add_done_callback(conversations.discard)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SmtpWire(connected), host, port, backlog=1024)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await _end(conversations)


async def _end(conversations: set[asyncio.Task[None]]) -> None:
    for conversation in conversations:
        conversation.cancel()
    await asyncio.gather(*conversations, return_exceptions=True)
