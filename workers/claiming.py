"""A pool of deliveries and its claims: as often as there is room, woken, with a poll behind it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeAlias, TypeVar

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
    is_reserve: bool = False
    """Takes nothing while its priorities find another place: a small claim costs as much as a large one."""


T = TypeVar("T")

TakeClaims: TypeAlias = Callable[[Pool], tuple[list[Claim], bool]]
"""What was leased, and whether something may be left that is due."""
Start: TypeAlias = Callable[[Sequence[Claim]], Sequence[T]]
"""Records which attempts begin; raises LogUnavailable when nothing is known of any."""
SetOff: TypeAlias = Callable[[T], asyncio.Task[None]]


class Claims(Generic[T]):
    """The loop of one pool. Taking and starting block, so both run in one thread, one after the other."""

    def __init__(self, pool: Pool, take: TakeClaims, start: Start[T], set_off: SetOff[T]) -> None:
        self.pool = pool
        self.unbegun: list[Claim] = []
        """Leased, but nothing was recorded about them yet."""
        self.is_idle = False
        """Found nothing, and waits for a wake-up."""
        self._take = take
        self._start = start
        self._set_off = set_off
        self._may_have_more = False
        self._woken = asyncio.Event()
        self._has_room = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_full(self) -> bool:
        return len(self._tasks) >= self.pool.size

    def wake(self) -> None:
        self._woken.set()

    async def run(self, stopped: asyncio.Event, *, drain: bool) -> None:
        """Until stopped; without ``drain`` nothing is taken before a wake-up or the first poll."""
        stopping = asyncio.create_task(self._end_waiting(stopped))
        try:
            if not drain:
                await self._wait(self.pool.poll)
            await self._rounds(stopped)
        finally:
            stopping.cancel()

    async def _rounds(self, stopped: asyncio.Event) -> None:
        pause = _FIRST_PAUSE
        while not stopped.is_set():
            try:
                if not await self._round(stopped):
                    await self._wait(self.pool.poll)
                pause = _FIRST_PAUSE
            except EventLogError as error:
                _logger.warning("no claims: %s; trying again in %.1f s", error, pause)
                await self._wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            except Exception:
                _logger.exception("a round failed; trying again in %.1f s", pause)
                await self._wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _end_waiting(self, stopped: asyncio.Event) -> None:
        await stopped.wait()
        self._woken.set()
        self._has_room.set()

    async def _wait(self, seconds: float) -> None:
        self.is_idle = True
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self.is_idle = False

    async def _round(self, stopped: asyncio.Event) -> bool:
        """Claim once and send what was claimed on its way; whether there may be more to do at once."""
        self._woken.clear()
        await self._wait_for_room()
        if stopped.is_set():
            return False
        for one in await asyncio.to_thread(self._take_and_start, stopped):
            task = self._set_off(one)
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        return self._may_have_more

    async def _wait_for_room(self) -> None:
        """For a whole batch, which costs no more to claim than one row."""
        if not self._fits():
            self._has_room.clear()
            await self._has_room.wait()

    def _fits(self) -> bool:
        return len(self._tasks) <= self.pool.size - self.pool.batch

    def _take_and_start(self, stopped: asyncio.Event) -> Sequence[T]:
        """The attempts that have begun."""
        if not self.unbegun:
            self.unbegun, self._may_have_more = self._take(self.pool)
        if not self.unbegun or stopped.is_set():
            return ()
        claims, self.unbegun = self.unbegun, []
        try:
            return self._start(claims)
        except LogUnavailable:
            # Their leases still run: they are begun when the database is back, not when the leases end.
            self.unbegun = claims
            raise

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._fits():
            self._has_room.set()
        if self.pool.in_order:
            self._woken.set()  # the next one of its instance may go
