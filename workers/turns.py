"""Turns on a channel: a bounded number at once, and who ranks first goes first."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from types import TracebackType
from typing import TypeAlias

Rank: TypeAlias = tuple[int, int]
"""Priority, then how many of the same instance were under way before it; the lowest goes first."""


class Turns:
    """Like a semaphore, but a code never stands in a queue behind invitations."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._arrivals = itertools.count()
        self._waiting: list[tuple[Rank, int, asyncio.Future[None]]] = []

    def turn(self, rank: Rank) -> _Turn:
        """To be entered, once; it ends with its block."""
        return _Turn(self, rank)

    async def take(self, rank: Rank) -> None:
        if self._free:
            self._free -= 1
            return
        mine = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, next(self._arrivals), mine))
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.give_back()
            raise

    def give_back(self) -> None:
        while self._waiting:
            *_, first = heapq.heappop(self._waiting)
            if not first.done():
                first.set_result(None)
                return
        self._free += 1


class _Turn:
    """Not a generator: there is one for every delivery."""

    def __init__(self, turns: Turns, rank: Rank) -> None:
        self._turns = turns
        self._rank = rank

    async def __aenter__(self) -> None:
        await self._turns.take(self._rank)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._turns.give_back()
