"""One process under the supervisor: started, watched, started again when it dies, stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from asyncio.subprocess import Process
from contextlib import suppress
from pathlib import Path

import msgspec

from tidings.errors import BAD_USAGE, TidingsError
from tidings.supervised import NAME, READY, SUPERVISOR

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 5.0
HEALTHY_AFTER = 10.0
"""Seconds a process must live for its next death to count as the first one."""
PATIENCE = 10.0
MOST_FAILED_STARTS = 3
"""Deaths in a row, before it ever ran, after which it is not started any more."""

_ROOT = Path(__file__).parents[1]
_log = logging.getLogger(__name__)


class ChildPlan(msgspec.Struct, frozen=True):
    name: str
    arguments: tuple[str, ...]
    """What follows `python -m tidings`."""
    environment: dict[str, str] = {}
    descriptors: tuple[int, ...] = ()
    patience: float = PATIENCE
    """Seconds it has to end by itself."""


class ChildCannotStart(TidingsError):
    pass


class Child:
    def __init__(self, plan: ChildPlan) -> None:
        self.plan = plan
        self.ran = asyncio.Event()
        """Set once it has said for the first time that it works."""
        self._process: Process | None = None
        self._last_word: signal.Signals | None = None
        self._stopping = asyncio.Event()
        self._early_deaths = 0

    def start(self) -> asyncio.Task[None]:
        """The task that keeps it running; raises ChildCannotStart when it never came to work."""
        self.keeper = asyncio.create_task(self._keep_running(), name=self.plan.name)
        return self.keeper

    async def stop(self) -> None:
        """Ask it to end; when its patience is over, make it."""
        self._say(signal.SIGTERM)
        _, late = await asyncio.wait([self.keeper], timeout=self.plan.patience)
        if late:
            _log.warning("%s did not stop in time and is killed", self.plan.name)
            await self.kill()

    async def kill(self) -> None:
        self._say(signal.SIGKILL)
        await asyncio.wait([self.keeper])

    async def _keep_running(self) -> None:
        pause = 0.0
        while not self._stopping.is_set():
            began = _now()
            status = await self._live()
            if self._stopping.is_set():
                return
            self._judge(status)
            pause = _next_pause(pause, _now() - began)
            _log.warning("%s died and is started again", self.plan.name, extra={"status": status})
            await self._rest(pause)

    async def _rest(self, pause: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), pause)

    def _say(self, number: signal.Signals) -> None:
        """Now, or as soon as the process that is just being started exists."""
        self._last_word = number
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _live(self) -> int:
        reader, writer = os.pipe()
        try:
            self._process = await self._spawn(writer)
        finally:
            os.close(writer)
        if self._last_word:
            self._say(self._last_word)
        listening = asyncio.create_task(self._hear(reader))
        status = await self._process.wait()
        await listening
        return status

    async def _spawn(self, ready: int) -> Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tidings", *self.plan.arguments),
            env=os.environ | self.plan.environment | self._own_environment(ready),
            pass_fds=(ready, *self.plan.descriptors),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sys.stderr,
            # A group of its own: Ctrl-C in a terminal reaches the supervisor alone, which stops all in order.
            process_group=0,
        )

    def _own_environment(self, ready: int) -> dict[str, str]:
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
            "PYTHONSAFEPATH": "1",
            NAME: self.plan.name,
            READY: str(ready),
            SUPERVISOR: str(os.getpid()),
        }

    async def _hear(self, ready: int) -> None:
        """Wait for its word; the pipe ends without one when it dies first."""
        words = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(words), os.fdopen(ready, "rb")
        )
        if await words.readline():
            self.ran.set()
        transport.close()

    def _judge(self, status: int) -> None:
        if self.ran.is_set():
            return
        self._early_deaths += 1
        if status == BAD_USAGE or self._early_deaths >= MOST_FAILED_STARTS:
            raise ChildCannotStart(f"{self.plan.name} cannot start; what it said stands above")


def _now() -> float:
    return asyncio.get_running_loop().time()


def _next_pause(pause: float, lived: float) -> float:
    return FIRST_PAUSE if lived >= HEALTHY_AFTER else min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)
