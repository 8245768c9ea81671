"""What a test leaves behind: tasks, threads and connections that nobody ended."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

_OF_THE_LOOP = "asyncio_"
"""Threads of the loop's own executor, which end with the loop."""
_PATIENCE = 2.0
_everybodys: set[threading.Thread] = set()


@contextlib.contextmanager
def for_everybody() -> Iterator[None]:
    """Threads that begin inside are shared by all tests of the process, whichever asks for them first."""
    before = set(threading.enumerate())
    yield
    _everybodys.update(set(threading.enumerate()) - before)


class Leftovers:
    """Sees what is there when a test begins, and what more when it is over."""

    def __init__(self, runner: asyncio.Runner | None, *, sockets: bool = True) -> None:
        self._runner = runner
        self._looks_at_sockets = sockets
        if runner is not None:
            runner.get_loop()
        self._threads = set(threading.enumerate())
        self._sockets = _sockets()

    def found(self) -> list[str]:
        """Those that do not go by themselves within a moment."""
        if self._runner is not None:
            self._runner.run(self._settle())
        else:
            for thread in self._more_threads():
                thread.join(_PATIENCE)
        return self._all()

    async def _settle(self) -> None:
        loop = asyncio.get_running_loop()
        over = loop.time() + _PATIENCE
        while self._all() and loop.time() < over:  # noqa: ASYNC110  # nothing tells when it is gone
            await asyncio.sleep(0.01)

    def _all(self) -> list[str]:
        sockets = _sockets() - self._sockets if self._looks_at_sockets else set()
        return [*self._tasks(), *map(repr, self._more_threads()), *(_described(one) for one in sockets)]

    def _tasks(self) -> list[str]:
        if self._runner is None:
            return []
        loop = self._runner.get_loop()
        return [repr(task) for task in asyncio.all_tasks(loop) if task is not _current(loop)]

    def _more_threads(self) -> list[threading.Thread]:
        new = set(threading.enumerate()) - self._threads - _everybodys
        return [thread for thread in new if not thread.name.startswith(_OF_THE_LOOP)]


def leftovers_of(request: pytest.FixtureRequest) -> Leftovers:
    """A loop that tests share stands still between them, so what it has to close is closed later."""
    marker = request.node.get_closest_marker("asyncio")
    if marker is not None and "loop_scope" in marker.kwargs:
        return Leftovers(None, sockets=False)
    if not inspect.iscoroutinefunction(getattr(request, "function", None)):
        return Leftovers(None)
    runner = request.getfixturevalue("_function_scoped_runner")  # the plugin has no public name for it
    assert isinstance(runner, asyncio.Runner)
    return Leftovers(runner)


def _current(loop: asyncio.AbstractEventLoop) -> asyncio.Task[object] | None:
    return asyncio.current_task(loop) if loop.is_running() else None


def _sockets() -> set[str]:
    """By inode, which no later socket shares while it is open."""
    found: set[str] = set()
    for descriptor in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):
            target = str(descriptor.readlink())
            found |= {target} if target.startswith("socket:") else set()
    return found


def _described(socket: str) -> str:
    inode = socket[len("socket:[") : -1]
    for table in ("tcp", "tcp6", "unix"):
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines():
            if f" {inode} " in line or line.endswith(f" {inode}"):
                return f"{table} socket: {' '.join(line.split())}"
    return socket
