"""The instances served lately: they order the round, and only the due queue decides what is due."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from event_log.due_queue import Turn


class ActiveInstances:
    """Bounded, and forgetting after a while; whom it does not know comes first. Threads may share it.

    ``most`` 0 means no bound, a ``lifetime`` of 0 that nothing is forgotten with time.
    """

    def __init__(self, most: int, lifetime: timedelta, clock: Callable[[], datetime]) -> None:
        self._most = most
        self._lifetime = lifetime
        self._clock = clock
        self._served: OrderedDict[str, datetime] = OrderedDict()
        self._after = ""
        self._seeded = False
        self._lock = threading.Lock()

    def turn(self, waiting: Callable[[], Iterable[str]]) -> Turn:
        """Whose turn it is; ``waiting`` is asked at the first time, whoever waits longest first."""
        with self._lock:
            if not self._seeded:
                self._remember(waiting())
                self._seeded = True
            self._forget()
            return Turn(tuple(self._served), self._after)

    def note(self, served: Iterable[str]) -> None:
        """These have had a turn just now."""
        instances = sorted(set(served))
        with self._lock:
            self._remember(instances)
            if instances:
                # For those nobody remembers the round goes on behind the one it came to last.
                self._after = max((instance <= self._after, instance) for instance in instances)[1]

    def _remember(self, instances: Iterable[str]) -> None:
        now = self._clock()
        for instance in instances:
            self._served.pop(instance, None)
            self._served[instance] = now

    def _forget(self) -> None:
        oldest = self._clock() - self._lifetime
        while self._served and (self._is_full() or (self._lifetime and self._first() < oldest)):
            self._served.popitem(last=False)

    def _is_full(self) -> bool:
        return bool(self._most) and len(self._served) > self._most

    def _first(self) -> datetime:
        return next(iter(self._served.values()))
