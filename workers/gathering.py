"""Lets results gather for a while, so that many share a commit."""

from __future__ import annotations

import asyncio


class Gathering:
    """Whoever joins goes on when the time is over, or at once when ``most`` have come together."""

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._count = 0
        self._over = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    async def join(self) -> None:
        if not self._seconds:
            return
        over = self._over
        self._count += 1
        if self._count >= self._most:
            self._release()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._release)
        await over.wait()

    def close(self) -> None:
        """Nobody waits any longer."""
        self._seconds = 0.0
        self._release()

    def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._count = None, 0
        self._over.set()
        self._over = asyncio.Event()
