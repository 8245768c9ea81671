"""Group commit in steps of the schedule: what has gathered by then is committed together."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from benchmarks.simulated.loop import VirtualLoop
from event_log import group_commit
from event_log.group_commit import GroupCommit, Waiter

T = TypeVar("T")
R = TypeVar("R")


class SteppedLane(GroupCommit[T, R]):
    """Takes the place of the lane that has a thread of its own."""

    _scheduled = False

    def _begin(self) -> None:
        """There is no thread."""

    def _enqueue(self, member: T, waiter: Waiter[R]) -> None:
        super()._enqueue(member, waiter)
        self._schedule()

    def close(self) -> None:
        self._closing = True
        while self._waiting:
            self._step()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            loop.call_later(loop.latency() + loop.dawdle(), self._step)

    def _step(self) -> None:
        self._scheduled = False
        group = self._next_group() if self._waiting else []
        if group:
            group_commit._answer(group, self._commit)  # noqa: SLF001  # the real thing, without its thread
        if self._waiting:
            self._schedule()
