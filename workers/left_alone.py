"""Notifications this code cannot read: for a while they are not claimed again, so that newer code may."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from event_log.due_queue import Lease

MOST = 10_000
LIFETIME = timedelta(minutes=10)
"""Then one is looked at once more: it may be closed by now, or mended."""


class LeftAlone:
    """Bounded, and forgetting after a while. Threads may share it."""

    def __init__(self, clock: Callable[[], datetime], most: int = MOST) -> None:
        self._clock = clock
        self._most = most
        self._since: dict[UUID, datetime] = {}
        self._lock = threading.Lock()

    def notifications(self) -> list[UUID]:
        with self._lock:
            oldest = self._clock() - LIFETIME
            self._since = {one: since for one, since in self._since.items() if since > oldest}
            return list(self._since)

    def take(self, leases: Sequence[Lease]) -> tuple[Sequence[Lease], Sequence[Lease]]:
        """Those that are remembered now, and those there is no room for."""
        with self._lock:
            now, room = self._clock(), max(self._most - len(self._since), 0)
            self._since |= {notification: now for notification, _ in leases[:room]}
        return leases[:room], leases[room:]
