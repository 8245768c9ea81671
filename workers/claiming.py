"""A pool of deliveries and its claims: as often as there is room, woken, with a poll behind it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeAlias

import msgspec

from event_log.due_queue import EVERYTHING, Claim
from event_log.errors import EventLogError, LogUnavailable

_logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """What is claimed together, and how much of it is under way at once."""

    retries: tuple[bool, ...]
    """Of what it takes: first attempts (False), retries (True) or both."""
    size: int
    batch: int
    """Leased by one claim at most."""
    poll: float
    """Seconds; the longest a due notification waits when a wake-up is lost."""
    in_order: bool = False
    """One an instance at a time, as they stand in the log."""
    priorities: tuple[int, ...] = EVERYTHING


TakeClaims: TypeAlias = Callable[[Pool], list[Claim]]
"""Blocks, so it runs in a thread."""
Begin: TypeAlias = Callable[[Sequence[Claim]], Awaitable[Iterable[asyncio.Task[None]]]]
"""Begins the deliveries; raises LogUnavailable when nothing is known of any."""


class Claims:
    """The loop of one pool."""

    def __init__(self, pool: Pool, take: TakeClaims, begin: Begin) -> None:
        self.pool = pool
        self.unbegun: list[Claim] = []
        """Leased, but nothing was recorded about them yet."""
        self._take = take
        self._begin = begin
        self._woken = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        self._woken.set()

    async def run(self, stopped: asyncio.Event, *, drain: bool) -> None:
        """Until stopped; without ``drain`` nothing is taken before a wake-up or the first poll."""
        if not drain:
            await self._wait(stopped, self.pool.poll)
        pause = _FIRST_PAUSE
        while not stopped.is_set():
            try:
                if not await self._round(stopped):
                    await self._wait(stopped, self.pool.poll)
                pause = _FIRST_PAUSE
            except EventLogError as error:
                _logger.warning("no claims: %s; trying again in %.1f s", error, pause)
                await self._wait(stopped, pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            except Exception:
                _logger.exception("a round failed; trying again in %.1f s", pause)
                await self._wait(stopped, pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _wait(self, stopped: asyncio.Event, seconds: float) -> None:
        waits = {asyncio.create_task(self._woken.wait()), asyncio.create_task(stopped.wait())}
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _round(self, stopped: asyncio.Event) -> bool:
        """Claim once and send what was claimed on its way; whether there was anything to do."""
        self._woken.clear()
        if not await self._has_room(stopped):
            return False
        self.unbegun = self.unbegun or await asyncio.to_thread(self._take, self.pool)
        if not self.unbegun or stopped.is_set():
            return False
        await self._begin_all()
        return True

    async def _has_room(self, stopped: asyncio.Event) -> bool:
        """Wait for room for a whole batch, which costs no more to claim than one row; False when stopped."""
        stopping = asyncio.create_task(stopped.wait())
        while len(self._tasks) > self.pool.size - self.pool.batch and not stopped.is_set():
            await asyncio.wait({stopping, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        return not stopped.is_set()

    async def _begin_all(self) -> None:
        claims, self.unbegun = self.unbegun, []
        try:
            begun = await self._begin(claims)
        except LogUnavailable:
            # Their leases still run: they are begun when the database is back, not when the leases end.
            self.unbegun = claims
            raise
        for task in begun:
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self.pool.in_order:
            self._woken.set()  # the next one of its instance may go
