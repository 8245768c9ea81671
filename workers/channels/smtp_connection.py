"""Our end of an open SMTP connection: writes commands and reads replies, pipelined or not (RFC 2920)."""

from __future__ import annotations

import asyncio

from event_log.failpoints import failpoint
from workers.channels.deadline import Deadline
from workers.channels.smtp_replies import (
    LONGEST_REPLY,
    DroppedError,
    Reply,
    TimedOutError,
    UnreadableError,
    read_reply,
)

BLOCK = 64 * 1024


class SmtpConnection(asyncio.Protocol):
    """A connection that has said hello and logged in; it takes its transport over from whoever did that."""

    def __init__(self, transport: asyncio.Transport, extensions: frozenset[str]) -> None:
        self.extensions = extensions
        self.messages = 0
        """Bodies written so far."""
        self.needs_reset = False
        self.idle_since = 0.0
        self.closed = transport.is_closing()
        self._transport = transport
        self._received = bytearray()
        self._paused = False
        self._change: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._deadline = Deadline(self._wake)
        transport.set_protocol(self)
        # A pause then means that something, so at least the final dot, is still ours and not the kernel's.
        transport.set_write_buffer_limits(high=1)

    @property
    def quiet(self) -> bool:
        """Nothing came that nobody asked for, the end of the connection included."""
        return not self.closed and not self._received

    def write(self, octets: bytes | memoryview) -> None:
        if not self.quiet:
            raise self._unasked()
        self._transport.write(octets)
        if self._transport.is_closing():  # the kernel refused them, every one
            raise DroppedError("the server closed the connection")

    async def command(self, line: bytes, within: float) -> Reply:
        self.write(line)
        return await self.reply(within)

    async def reply(self, within: float) -> Reply:
        """The next reply, whatever it says; ConversationError when none comes ``within`` seconds."""
        reply = self._take_reply()
        if reply is None:
            self._deadline.move(within)
        while reply is None:
            await self._changed()
            reply = self._take_reply()
            if reply is None and self._deadline.passed:
                raise TimedOutError(f"no reply within {within:g} s")
        return reply

    async def write_all(self, octets: bytes, within: float) -> None:
        """Returns once the kernel has every octet; a ConversationError means that it never gets the last.

        In blocks, each in ``within`` seconds: a TLS layer would take it all at once and say no more of it.
        """
        for start in range(0, len(octets), BLOCK):
            if start:
                failpoint("smtp.half_body")
                await asyncio.sleep(0)  # lets the loop tell us of a connection that is gone
            self.write(memoryview(octets)[start : start + BLOCK])
            await self._drained(within)

    async def _drained(self, within: float) -> None:
        self._deadline.move(within)
        while self._paused:
            if self._deadline.passed:
                self.discard()
                raise TimedOutError(f"not written within {within:g} s")
            await self._changed()

    def discard(self) -> None:
        """Drop the connection at once, with whatever was not yet written."""
        self.closed = True
        self._deadline.lift()
        self._transport.abort()

    def _take_reply(self) -> Reply | None:
        found = read_reply(self._received) if self._received else None
        if found is None:
            return None
        reply, length = found
        del self._received[:length]
        return reply

    def _unasked(self) -> DroppedError | UnreadableError:
        # What a server says before it hangs up (421) is no answer to what was about to be written.
        if self.closed or self._received.startswith(b"421"):
            return DroppedError("the server closed the connection")
        return UnreadableError("the server spoke out of turn")

    async def _changed(self) -> None:
        if self.closed:
            raise DroppedError("the server closed the connection")
        self._change = self._loop.create_future()
        await self._change

    def _wake(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > 2 * LONGEST_REPLY:
            self.discard()
        self._wake()

    def eof_received(self) -> None:
        # Aborted here, so that the transport does not go on flushing a body that is being given up.
        self.discard()
        self._wake()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why it went changes nothing
        self.closed = True
        self._deadline.lift()
        self._wake()
