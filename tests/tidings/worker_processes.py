"""Workers as processes of their own, on a test's database and a test's SMTP server."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
KEY = bytes(range(32))
"""That of the fixture ``key``."""


class Started:
    def __init__(self, process: Process, said: Path) -> None:
        self.process = process
        self._said = said

    def said(self) -> str:
        """On standard error, so far."""
        return self._said.read_text()

    async def ends(self, within: float = 10.0) -> int:
        """Its exit status; negative for the signal that ended it."""
        return await asyncio.wait_for(self.process.wait(), within)

    async def until(self, condition: Callable[[], bool], within: float = 20.0) -> None:
        """Raises AssertionError when it ends before the condition is true, or takes too long."""
        try:
            async with asyncio.timeout(within):
                while not condition():
                    assert self.process.returncode is None, self.said()
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(self.said()) from None


@asynccontextmanager
async def started(
    directory: Path,
    conninfo: str,
    smtp_port: int,
    *words: str,
    tree: Path = ROOT,
    **settings: str,
) -> AsyncIterator[Started]:
    """`tidings` with these words; ``settings`` by their names as variables, without the prefix."""
    said = directory / f"{'-'.join(words)}-{tree.name}.log"
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(tree),
        "PYTHONSAFEPATH": "1",
        "TIDINGS_DATABASE_URL": conninfo,
        "TIDINGS_DATA_DIR": str(directory),
        "TIDINGS_SECRET_KEY": base64.urlsafe_b64encode(KEY).decode(),
        "TIDINGS_SANDBOX__ENABLED": "false",
        "TIDINGS_SMTP__HOST": "127.0.0.1",
        "TIDINGS_SMTP__PORT": str(smtp_port),
        "TIDINGS_SMTP__TLS": "none",
        "TIDINGS_SMTP__SENDER_ADDRESS": "no-reply@tidings.example",
    }
    given = {f"TIDINGS_{name}": value for name, value in settings.items()}
    with said.open("w") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tidings", *words),
            cwd=directory,
            env=environment | given,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
        )
    try:
        yield Started(process, said)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
