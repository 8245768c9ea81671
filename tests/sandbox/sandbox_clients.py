from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tidings.sandbox.server import SandboxAddress

ENVELOPE = ("EHLO probe.example", "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>", "DATA")
MAIL = "Subject: Hello\r\n\r\nGood morning.\r\n"


class Talker:
    """An SMTP client that says exactly what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, *lines: str | bytes) -> None:
        self.writer.write(
            b"".join(line if isinstance(line, bytes) else line.encode() + b"\r\n" for line in lines)
        )

    async def hear(self) -> str:
        """The last line of one reply; empty when the server hung up."""
        while (line := await self._line())[3:4] == b"-":
            pass
        return line.decode("utf-8", "replace").rstrip("\r\n")

    async def ask(self, *lines: str | bytes) -> str:
        """Say some lines one by one; the answer to the last."""
        answer = ""
        for line in lines:
            self.say(line)
            answer = await self.hear()
        return answer

    async def _line(self) -> bytes:
        try:
            return await self.reader.readline()
        except ConnectionError:
            return b""


class Web:
    """The sandbox's HTTP side; answers are ``(status, decoded JSON)``."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def call(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        async with self.session.request(method, path, **more) as answer:
            body = await answer.json(content_type=None) if answer.status != 204 else None
            return answer.status, body

    async def get(self, path: str, **more: Any) -> Any:
        status, body = await self.call("GET", path, **more)
        assert status == 200, body
        return body

    async def messages(self, **query: str) -> list[Any]:
        return list((await self.get("/sandbox/messages", params=query))["items"])

    async def set_fault(self, channel: str, stage: str, action: str, **more: Any) -> None:
        fault = {"channel": channel, "stage": stage, "action": action, **more}
        status, body = await self.call("POST", "/sandbox/faults", json=fault)
        assert status == 201, body


@asynccontextmanager
async def web_of(address: SandboxAddress) -> AsyncIterator[Web]:
    timeout = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession(address.base_url, timeout=timeout) as session:
        yield Web(session)


@asynccontextmanager
async def talking_to(address: SandboxAddress) -> AsyncIterator[Talker]:
    reader, writer = await asyncio.open_connection(address.host, address.smtp_port)
    try:
        yield Talker(reader, writer)
    finally:
        writer.transport.abort()
