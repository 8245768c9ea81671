"""Keeps a set of processes running until it is told to stop, then stops them in order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tidings.child import Child, ChildPlan


class StopRequests:
    """What SIGINT, SIGTERM and a closed terminal ask for: the first time politely, the second at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.urgent = asyncio.Event()

    def ask(self) -> None:
        (self.urgent if self.asked.is_set() else self.asked).set()

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listen to the signals; one that the caller had us ignore (nohup) stays ignored."""
        loop = asyncio.get_running_loop()
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self.ask)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    async def unless_asked(self, wish: Coroutine[Any, Any, Any], *others: asyncio.Task[Any]) -> bool:
        """Whether ``wish`` came true before a stop was asked for; raises what it or any other raises."""
        wished = asyncio.create_task(wish)
        asked = asyncio.create_task(self.asked.wait())
        done, _ = await asyncio.wait([wished, asked, *others], return_when=asyncio.FIRST_COMPLETED)
        for task in (wished, asked):
            task.cancel()
        for task in done:
            task.result()
        return not self.asked.is_set()


class Supervisor:
    """``waves`` hold the processes in the order they start; they stop the other way round."""

    def __init__(self, waves: Sequence[Sequence[ChildPlan]], stop: StopRequests) -> None:
        self._waves = [[Child(plan) for plan in wave] for wave in waves]
        self._stop = stop
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> bool:
        """Start all and wait until each works; False when a stop was asked for meanwhile.

        Raises ChildCannotStart.
        """
        self._keepers = [child.start() for child in self._children()]
        return await self._stop.unless_asked(self._all_ran(), *self._keepers)

    async def watch(self) -> None:
        """Returns when a stop is asked for."""
        await self._stop.unless_asked(self._stop.urgent.wait(), *self._keepers)

    async def stop(self) -> None:
        """Ends every process. A second request meanwhile kills what is left."""
        orderly = asyncio.create_task(self._stop_in_order())
        urgent = asyncio.create_task(self._stop.urgent.wait())
        await asyncio.wait([orderly, urgent], return_when=asyncio.FIRST_COMPLETED)
        for task in (orderly, urgent):
            task.cancel()
        await asyncio.gather(*(child.kill() for child in self._children()))
        await asyncio.gather(orderly, urgent, *self._keepers, return_exceptions=True)

    async def _stop_in_order(self) -> None:
        for wave in reversed(self._waves):
            await asyncio.gather(*(child.stop() for child in wave))

    async def _all_ran(self) -> None:
        await asyncio.gather(*(child.ran.wait() for child in self._children()))

    def _children(self) -> list[Child]:
        return [child for wave in self._waves for child in wave]
