"""Processes of Tidings that are started by fork, killed, frozen and started again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parent.parent
LINES = 1 << 20


class Offspring:
    """One forked process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ready = asyncio.Event()
        self.stopped = asyncio.Event()
        self.ended = asyncio.Event()
        self.status = 0
        self.doomed = False
        """Killed, though its end may still have to be noticed."""

    def signal(self, number: signal.Signals) -> None:
        if not self.ended.is_set():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.doomed = True
        self.signal(signal.SIGKILL)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.stopped.clear()
        self.signal(signal.SIGCONT)


class Nursery:
    """The near end of a fork server."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._waiting: deque[asyncio.Future[Offspring]] = deque()
        self._alive: dict[int, Offspring] = {}
        self._listening = asyncio.create_task(self._listen())

    async def spawn(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        *,
        directory: Path,
        log: Path,
        planted: bool = False,
    ) -> Offspring:
        """``environment`` is all it gets, ``log`` takes its standard error."""
        wish = {"words": words, "environment": environment, "planted": planted}
        wish |= {"directory": str(directory), "log": str(log)}
        born: asyncio.Future[Offspring] = asyncio.get_running_loop().create_future()
        self._waiting.append(born)
        assert self._process.stdin
        self._process.stdin.write(json.dumps(wish).encode() + b"\n")
        return await born

    async def close(self) -> None:
        self._process.kill()
        await self._process.wait()
        await asyncio.wait([self._listening])

    async def _listen(self) -> None:
        assert self._process.stdout
        while line := await self._process.stdout.readline():
            self._take(json.loads(line))
        for born in self._waiting:
            born.set_exception(RuntimeError("the fork server is gone; what it said stands above"))
        for one in self._alive.values():
            one.ended.set()

    def _take(self, word: dict[str, int]) -> None:
        status = word.pop("status", 0)
        ((what, pid),) = word.items()
        if what == "spawned":
            self._alive[pid] = Offspring(pid)
            self._waiting.popleft().set_result(self._alive[pid])
            return
        one = self._alive[pid]
        if what == "ended":
            one.status = status
            del self._alive[pid]
        getattr(one, what).set()


@asynccontextmanager
async def nursery(*, descriptors: Sequence[int] = ()) -> AsyncIterator[Nursery]:
    """``descriptors`` are inherited by all; every process ends with this context."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TIDINGS_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "benchmarks.fork_server"),
        cwd=ROOT,
        env=kept | {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=descriptors,
        limit=LINES,
    )
    held = Nursery(process)
    try:
        yield held
    finally:
        await held.close()
