"""Where mails go in a benchmark: Debian's smtp-sink, or the sandbox where that cannot be had."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from benchmarks.peers.cache import ROOT, Missing, Postfix
from tidings.listening import free_port

HOST = "127.0.0.1"
_START_SECONDS = 20.0
_BACKLOG = "100"


class Sink(msgspec.Struct, frozen=True):
    host: str
    port: int
    what: str
    """For a person."""


@asynccontextmanager
async def sink(postfix: Postfix | Missing, directory: Path) -> AsyncIterator[Sink]:
    """A process of its own that takes every mail; it ends with this context."""
    port = free_port(HOST)
    if isinstance(postfix, Postfix):
        # Started by root it insists on becoming somebody else.
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        command = [postfix.sink, *user, f"{HOST}:{port}", _BACKLOG]
        made = Sink(HOST, port, f"smtp-sink {postfix.origin}")
        environment = dict(postfix.environment)
    else:
        program = str(Path(__file__).parent / "sandbox_sink.py")
        command = [sys.executable, program, str(directory), HOST, str(port)]
        made = Sink(HOST, port, "the sandbox of Tidings, which is slower than what it measures")
        environment = {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
    async with _running(command, environment):
        await _accepts(made)
        yield made


@asynccontextmanager
async def _running(command: Sequence[str], environment: Mapping[str, str]) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *command, env=os.environ | environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _accepts(made: Sink) -> None:
    """Raises TimeoutError when nothing answers there."""
    async with asyncio.timeout(_START_SECONDS):
        while True:
            try:
                reader, writer = await asyncio.open_connection(made.host, made.port)
                await reader.readline()
                writer.write(b"QUIT\r\n")
                await reader.readline()
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
