"""Lines, bodies and replies on one SMTP connection."""

from __future__ import annotations

import asyncio

LONGEST_LINE = 8192
_READ_SIZE = 1 << 17


class ConnectionEnded(Exception):
    """The client left, or the sandbox means to drop it."""


class SmtpWire:
    """Replies are held back until the server must wait, so that a pipelined group is answered in one write
    (RFC 2920, section 3.2).
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._unread = bytearray()
        self._replies: list[bytes] = []

    def reply(self, text: str) -> None:
        self._replies.append(text.encode() + b"\r\n")

    def say_nonsense(self) -> None:
        self._replies.append(b"\x00\xff?! no such protocol\r\n")

    async def flush(self) -> None:
        if self._replies:
            self._writer.write(b"".join(self._replies))
            self._replies.clear()
            await self._writer.drain()

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
        stuffed = bytes(self._unread[: end + 2])
        del self._unread[: end + 5]
        return None if too_long or end > limit + 2 else stuffed.replace(b"\r\n.", b"\r\n")[2:]

    async def receive(self) -> None:
        """Wait for the client to say something more; raises ConnectionEnded when it never will."""
        await self.flush()
        chunk = await self._reader.read(_READ_SIZE)
        if not chunk:
            raise ConnectionEnded
        self._unread += chunk

    async def begun(self) -> None:
        """Wait until at least a byte is unread."""
        if not self._unread:
            await self.receive()

    async def outwait(self, seconds: float | None) -> None:
        """Say nothing until the client leaves, or for so many seconds."""
        await self.flush()
        try:
            async with asyncio.timeout(seconds):
                while await self._reader.read(_READ_SIZE):
                    pass
        except TimeoutError:
            return

    async def part(self) -> None:
        """Say what is left to say, then close."""
        await self.flush()
        self._writer.close()
        await self._writer.wait_closed()

    def drop(self) -> None:
        """Close at once; harmless when it is closed already."""
        self._writer.transport.abort()
