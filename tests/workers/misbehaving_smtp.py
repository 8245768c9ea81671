"""An SMTP server that keeps to the protocol until the stage at which a test wants it not to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

Act: TypeAlias = bytes | Literal["drop", "hang", "wait"]
"""Octets to write, hang up, say nothing until the client goes, or nothing until the test lets it go on."""

HONEST: dict[str, Sequence[Act]] = {
    "banner": (b"220 mail.test ready\r\n",),
    "helo": (b"250 mail.test\r\n",),
    "starttls": (b"220 go ahead\r\n",),
    "auth": (b"235 2.7.0 welcome\r\n",),
    "mail": (b"250 2.1.0 fine\r\n",),
    "second mail": (b"250 2.1.0 fine\r\n",),
    "rcpt": (b"250 2.1.5 fine\r\n",),
    "data": (b"354 go on\r\n",),
    "body": (),
    "dot": (b"250 2.0.0 queued as 7\r\n",),
    "idle": (),
    "rset": (b"250 2.0.0 flushed\r\n",),
    "quit": (b"221 2.0.0 bye\r\n", "drop"),
}


class Script(msgspec.Struct, frozen=True):
    """What the server does instead of what is right, by stage; the stages are the keys of ``HONEST``."""

    at: Mapping[str, Sequence[Act]] = {}
    extensions: Sequence[str] = ("PIPELINING", "SIZE 10000000")
    tls: ssl.SSLContext | None = None
    implicit_tls: bool = False
    receive_buffer: int = 0


class MisbehavingSmtp:
    def __init__(self, script: Script) -> None:
        self.port = 0
        self.connections = 0
        self.open = 0
        self.commands: list[str] = []
        self.clear_commands: list[str] = []
        """Those that came without TLS."""
        self.bodies: list[bytes] = []
        """Messages whose final dot arrived, whatever was answered."""
        self.unfinished: list[bytes] = []
        """What arrived of bodies that had no final dot."""
        self.hanging = asyncio.Event()
        self.go_on = asyncio.Event()
        self.changed = asyncio.Condition()
        self.script = script
        """May be replaced while the server runs."""
        self._talks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[MisbehavingSmtp]:
        server = await asyncio.start_server(
            self._talk,
            sock=self._listener(),
            ssl=self.script.tls if self.script.implicit_tls else None,
        )
        async with server:
            yield self
            for talk in self._talks:
                talk.cancel()
            await asyncio.gather(*self._talks, return_exceptions=True)

    def _listener(self) -> socket.socket:
        listener = socket.socket()
        if self.script.receive_buffer:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.script.receive_buffer)
        listener.bind(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        return listener

    async def everyone_left(self) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.open == 0)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        self.connections += 1
        self.open += 1
        with contextlib.suppress(ConnectionError, ssl.SSLError, HungUpError, asyncio.CancelledError):
            await _Talk(self, reader, writer).run()
        writer.transport.abort()
        self._talks.discard(task)
        async with self.changed:
            self.open -= 1
            self.changed.notify_all()


class HungUpError(Exception):
    pass


class _Talk:
    """One connection."""

    def __init__(
        self,
        server: MisbehavingSmtp,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._secure = server.script.implicit_tls
        self._mails = 0
        self._refused = False

    async def run(self) -> None:
        await self._act("banner")
        while line := await self._reader.readline():
            await self._answer(line.decode("latin-1").rstrip("\r\n"))

    async def _answer(self, command: str) -> None:
        self._server.commands.append(command)
        if not self._secure:
            self._server.clear_commands.append(command)
        match command[:4].upper():
            case "EHLO":
                await self._act("ehlo")
            case "STAR":
                await self._start_tls()
            case "MAIL":
                self._mails += 1
                self._refused = False
                await self._envelope("mail" if self._mails == 1 else "second mail")
            case "RCPT":
                await self._envelope("rcpt")
            case "DATA":
                await self._data()
            case verb:
                await self._act(verb.lower())

    async def _envelope(self, stage: str) -> None:
        reply = await self._act(stage)
        self._refused = self._refused or not reply.startswith(b"250")

    async def _start_tls(self) -> None:
        await self._act("starttls")
        if self._server.script.tls is not None and not self._secure:
            await self._writer.start_tls(self._server.script.tls)
            self._secure = True

    async def _data(self) -> None:
        if not (await self._act("data")).startswith(b"354"):
            return
        await self._act("body")
        body = b""
        while not (b"\r\n" + body).endswith(b"\r\n.\r\n"):
            octets = await self._reader.readline()
            if not octets:
                self._server.unfinished.append(body)
                raise HungUpError
            body += octets
        self._server.bodies.append(body)
        await self._act("dot")
        await self._act("idle")

    async def _act(self, stage: str) -> bytes:
        """Does what the script says; what was written."""
        written = b""
        for act in self._server.script.at.get(stage, self._honest(stage)):
            if act == "drop":
                raise HungUpError
            if act == "wait":
                self._server.hanging.set()
                await self._server.go_on.wait()
                continue
            if act == "hang":
                self._server.hanging.set()
                while await self._reader.read(1 << 16) if stage != "body" else await asyncio.Event().wait():
                    pass
                raise HungUpError
            self._writer.write(act)
            await self._writer.drain()
            written += act
        return written

    def _honest(self, stage: str) -> Sequence[Act]:
        if self._refused and stage in {"rcpt", "data"}:
            return (b"503 5.5.1 not now\r\n",)
        if stage != "ehlo":
            return HONEST.get(stage, (b"502 5.5.1 what?\r\n",))
        lines = ["mail.test", *self._server.script.extensions]
        return tuple(
            f"250{' ' if position == len(lines) - 1 else '-'}{line}\r\n".encode()
            for position, line in enumerate(lines)
        )


@contextlib.asynccontextmanager
async def misbehaving_smtp(script: Script = Script()) -> AsyncIterator[MisbehavingSmtp]:  # noqa: B008 - frozen
    async with MisbehavingSmtp(script).serving() as server:
        yield server
