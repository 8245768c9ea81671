"""Group commit: while one transaction commits, the next one's members gather; nobody waits on purpose."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from event_log.errors import EventLogError, LogUnavailable, Overloaded

T = TypeVar("T")
R = TypeVar("R")


class GroupCommit(Generic[T, R]):
    """One thread that hands whatever has gathered to ``commit``, which answers each member in order.

    An error other than LogUnavailable in a group is retried member by member, so that one bad member
    fails alone. ``weigh`` bounds a group by more than its count.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[T]], Sequence[R]],
        *,
        name: str,
        max_waiting: int = 2000,
        max_weight: int = 2000,
        weigh: Callable[[T], int] = lambda _: 1,
    ) -> None:
        self._commit = commit
        self._max_waiting = max_waiting
        self._max_weight = max_weight
        self._weigh = weigh
        self._waiting: deque[tuple[T, Future[R]]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._begin()

    def _begin(self) -> None:
        """Its own thread; a simulation takes its groups one by one instead."""
        self._thread.start()

    def submit(self, member: T) -> Future[R]:
        """Raises Overloaded at once when too many wait already."""
        future: Future[R] = Future()
        with self._changed:
            if self._closing or len(self._waiting) >= self._max_waiting:
                raise Overloaded("too many appends are waiting for their turn")
            self._waiting.append((member, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Commit what is waiting, then stop."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing or self._waiting:
            if group := self._next_group():
                _answer(group, self._commit)

    def _next_group(self) -> list[tuple[T, Future[R]]]:
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            group: list[tuple[T, Future[R]]] = []
            weight = 0
            while self._waiting and (not group or weight < self._max_weight):
                member = self._waiting.popleft()
                # From here on it is committed, so nobody can take it back.
                if member[1].set_running_or_notify_cancel():
                    weight += self._weigh(member[0])
                    group.append(member)
            return group


def _answer(group: list[tuple[T, Future[R]]], commit: Callable[[Sequence[T]], Sequence[R]]) -> None:
    try:
        answers = commit([member for member, _ in group])
    except Exception as error:  # noqa: BLE001  # handed to whoever waits for the answer
        if len(group) > 1 and not isinstance(error, LogUnavailable):
            for single in group:
                _answer([single], commit)
        else:
            _fail(group, error)
        return
    for (_, future), answer in zip(group, answers, strict=True):
        future.set_result(answer)


def _fail(group: list[tuple[T, Future[R]]], error: Exception) -> None:
    for _, future in group:
        future.set_exception(error if isinstance(error, EventLogError) else RuntimeError(str(error)))
