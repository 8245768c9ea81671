"""Lines, bodies and replies on one SMTP connection."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import cast

LONGEST_LINE = 8192
_MOST_UNREAD = 1 << 17
"""Octets taken in while nobody asks for them."""
_STUFFED_DOT = re.compile(rb"\r\n\.")


class ConnectionEnded(Exception):
    """The client left, or the sandbox means to drop it."""


class SmtpWire(asyncio.Protocol):
    """Replies are held back until the server must wait, so that a pipelined group is answered in one write
    (RFC 2920, section 3.2).
    """

    def __init__(self, connected: Callable[[SmtpWire], None]) -> None:
        self._connected = connected
        self._loop = asyncio.get_running_loop()
        self._unread = bytearray()
        self._replies: list[bytes] = []
        self._change: asyncio.Future[None] | None = None
        self._heard_all = False
        self._lost = False
        self._full = False
        self._held_up = False

    def reply(self, text: str) -> None:
        self._replies.append(text.encode() + b"\r\n")

    def say_nonsense(self) -> None:
        self._replies.append(b"\x00\xff?! no such protocol\r\n")

    async def flush(self) -> None:
        if self._replies:
            self._transport.write(b"".join(self._replies))
            self._replies.clear()
        while self._full and not self._lost:
            await self._changed()
        if self._lost:
            raise ConnectionEnded

    async def line(self) -> bytes:
        """One command without its line end; a bare LF will do, for people with netcat."""
        while (end := self._unread.find(b"\n")) < 0:
            if len(self._unread) > LONGEST_LINE:
                self.reply("500 5.5.2 Line too long")
                await self.part()
                raise ConnectionEnded
            await self.receive()
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        return line.removesuffix(b"\r")

    async def body(self, limit: int) -> bytes | None:
        """A mail up to its final dot, dot-stuffing removed; None when it was longer than ``limit`` bytes.

        Only CRLF.CRLF ends it: anything laxer would let one mail smuggle in another.
        """
        # The line end of DATA itself may begin the terminator of an empty mail.
        self._unread[:0] = b"\r\n"
        too_long = False
        start = 0
        while (end := self._unread.find(b"\r\n.\r\n", start)) < 0:
            if len(self._unread) > limit:
                too_long = True
                del self._unread[:-4]
            start = max(0, len(self._unread) - 4)
            await self.receive()
        stuffed = self._unread[: end + 2]
        del self._unread[: end + 5]
        return None if too_long or end > limit + 2 else _STUFFED_DOT.sub(b"\r\n", stuffed)[2:]

    async def receive(self) -> None:
        """Wait for the client to say something more; raises ConnectionEnded when it never will."""
        known = len(self._unread)
        await self.flush()
        while len(self._unread) == known:
            if self._heard_all:
                raise ConnectionEnded
            await self._changed()

    async def begun(self) -> None:
        """Wait until at least a byte is unread."""
        if not self._unread:
            await self.receive()

    async def outwait(self, seconds: float | None) -> None:
        """Say nothing until the client leaves, or for so many seconds."""
        await self.flush()
        try:
            async with asyncio.timeout(seconds):
                while not self._heard_all:
                    self._unread.clear()
                    await self._changed()
        except TimeoutError:
            return

    async def part(self) -> None:
        """Say what is left to say, then close."""
        await self.flush()
        self._transport.close()
        while not self._lost:
            await self._changed()

    def drop(self) -> None:
        """Close at once; harmless when it is closed already."""
        self._transport.abort()

    async def _changed(self) -> None:
        if self._held_up:
            self._held_up = False
            self._transport.resume_reading()
        self._change = self._loop.create_future()
        await self._change

    def _wake(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: uvloop's transports are none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)
        self._connected(self)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        nobody_asks = self._change is None or self._change.done()
        if nobody_asks and len(self._unread) > _MOST_UNREAD and not self._held_up:
            self._held_up = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """It may still be answered."""
        self._heard_all = True
        self._wake()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why it went changes nothing
        self._heard_all = self._lost = True
        self._full = False
        self._wake()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake()
