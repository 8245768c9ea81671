"""An HTTP server that answers with the octets it was told to, right or wrong."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Literal, TypeAlias
from urllib.parse import parse_qs

import msgspec

Act: TypeAlias = bytes | asyncio.Event | Literal["drop", "hang"]
"""Octets are sent, an event is waited for."""


class Request(msgspec.Struct, frozen=True):
    line: str
    headers: dict[str, str]
    form: dict[str, str]
    body: bytes = b""


def answer(status: int, body: bytes, *, length: int | None = None, **headers: str) -> bytes:
    """A whole HTTP answer, unless ``length`` promises more than ``body``."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class MisbehavingHttp:
    """Reads each request whole, then does ``acts``."""

    def __init__(self, *acts: Act) -> None:
        self.acts: Sequence[Act] = acts
        self.port = 0
        self.connections = 0
        self.open = 0
        self.requests: list[Request] = []
        self.changed = asyncio.Condition()
        self._talks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serving(
        self, tls: ssl.SSLContext | None = None, port: int = 0
    ) -> AsyncIterator[MisbehavingHttp]:
        listener = socket.create_server(("127.0.0.1", port))
        self.port = listener.getsockname()[1]
        async with await asyncio.start_server(self._talk, sock=listener, ssl=tls):
            yield self
            for talk in self._talks:
                talk.cancel()
            await asyncio.gather(*self._talks, return_exceptions=True)

    async def everyone_left(self) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.open == 0)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        self.connections += 1
        self.open += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._exchange(reader, writer):
                pass
        writer.transport.abort()
        self._talks.discard(task)
        async with self.changed:
            self.open -= 1
            self.changed.notify_all()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        self.requests.append(await _read_request(reader))
        for act in self.acts:
            if act == "drop":
                return False
            if act == "hang":
                await reader.read()
                return False
            if isinstance(act, asyncio.Event):
                await act.wait()
                continue
            writer.write(act)
            await writer.drain()
        return True


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    line, *fields = head.rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
    return Request(line, headers, form, body)
