"""A time limit that moves from wait to wait: one timer serves them all, and is rarely set."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class Deadline:
    """``ring`` is called when it has passed, and at times when nobody waits any more."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self.passed = False
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._at = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def move(self, seconds: float) -> None:
        """It now lies so many seconds ahead, wherever it lay before."""
        self.passed = False
        self._at = self._loop.time() + seconds
        if self._at < self._timer_at:
            self._set_timer()

    def lift(self) -> None:
        """There is none any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._timer_at = None, math.inf

    def _set_timer(self) -> None:
        self.lift()
        self._timer, self._timer_at = self._loop.call_at(self._at, self._look), self._at

    def _look(self) -> None:
        # A timer that was set for an earlier wait comes too early for this one.
        early = self._at > self._timer_at
        self._timer, self._timer_at = None, math.inf
        if early:
            self._set_timer()
        else:
            self.passed = True
            self._ring()
