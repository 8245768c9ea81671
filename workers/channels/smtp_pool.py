"""A bounded pool of SMTP connections; the one used last is used next, so that the others may grow old."""

from __future__ import annotations

import asyncio
from bisect import bisect_left

from workers.channels.smtp_connection import SmtpConnection
from workers.channels.smtp_replies import ConversationError
from workers.channels.smtp_settings import SmtpSettings
from workers.channels.smtp_transmission import reset

QUIT_TIMEOUT = 1.0


class SmtpPool:
    """Whoever holds one of ``slots`` may have one connection open."""

    def __init__(self, limits: SmtpSettings) -> None:
        self.slots = asyncio.Semaphore(limits.connections)
        self._limits = limits
        self._idle: list[SmtpConnection] = []
        self._closed = False

    async def take(self) -> SmtpConnection | None:
        """A connection that looks alive, or None: then the caller opens one."""
        longest_ago = asyncio.get_running_loop().time() - self._limits.idle_timeout
        if self._idle and self._idle[0].idle_since < longest_ago:
            await self._retire(longest_ago)
        while self._idle:
            connection = self._idle.pop()
            if await self._is_usable(connection):
                return connection
        return None

    def give_back(self, connection: SmtpConnection) -> None:
        if self._closed:
            connection.discard()
        if connection.closed:
            return
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)

    async def close(self) -> None:
        """Ends the idle connections now, and those in use as soon as they are given back."""
        self._closed = True
        idle, self._idle = self._idle, []
        await _quit_all(idle)

    async def _retire(self, longest_ago: float) -> None:
        """The one used last stands last, so the oldest stand first."""
        count = bisect_left(self._idle, longest_ago, key=lambda connection: connection.idle_since)
        old, self._idle = self._idle[:count], self._idle[count:]
        await _quit_all(old)

    async def _is_usable(self, connection: SmtpConnection) -> bool:
        if not connection.quiet:
            connection.discard()
            return False
        if connection.messages >= self._limits.max_messages_per_connection:
            await _quit(connection)
            return False
        return not connection.needs_reset or await reset(connection, self._limits.command_timeout)


async def _quit_all(connections: list[SmtpConnection]) -> None:
    await asyncio.gather(*(_quit(connection) for connection in connections))


async def _quit(connection: SmtpConnection) -> None:
    """A short goodbye; what the server says to it changes nothing."""
    try:
        await connection.command(b"QUIT\r\n", QUIT_TIMEOUT)
    except ConversationError:
        pass
    finally:
        connection.discard()
