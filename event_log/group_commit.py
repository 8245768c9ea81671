"""Group commit: while one transaction commits, the next one's members gather; nobody waits on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeAlias, TypeVar

from event_log.errors import EventLogError, LogUnavailable, Overloaded

T = TypeVar("T")
R = TypeVar("R")

Waiter: TypeAlias = "Future[R] | asyncio.Future[R]"
_Told: TypeAlias = "tuple[asyncio.Future[R], R | Exception]"


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
        self._waiting: deque[tuple[T, Waiter[R]]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._announcing: asyncio.AbstractEventLoop | None = None
        """The loop that is about to wake the thread."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._begin()

    def _begin(self) -> None:
        """Its own thread; a simulation takes its groups one by one instead."""
        self._thread.start()

    def submit(self, member: T) -> Future[R]:
        """Raises Overloaded at once when too many wait already."""
        future: Future[R] = Future()
        self._enqueue(member, future)
        self._announce()
        return future

    async def commit(self, member: T) -> R:
        """As ``submit``, in an event loop; who stops waiting takes nothing back."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._enqueue(member, future)
        if self._announcing is not loop:
            # Whatever the loop has yet to run just now comes into the same group.
            self._announcing = loop
            loop.call_soon(self._announce)
        return await future

    def _enqueue(self, member: T, waiter: Waiter[R]) -> None:
        with self._changed:
            if self._closing or len(self._waiting) >= self._max_waiting:
                raise Overloaded("too many appends are waiting for their turn")
            self._waiting.append((member, waiter))

    def _announce(self) -> None:
        self._announcing = None
        with self._changed:
            self._changed.notify()

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

    def _next_group(self) -> list[tuple[T, Waiter[R]]]:
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            group: list[tuple[T, Waiter[R]]] = []
            weight = 0
            while self._waiting and (not group or weight < self._max_weight):
                member = self._waiting.popleft()
                # From here on it is committed, so nobody can take it back.
                if _goes_on(member[1]):
                    weight += self._weigh(member[0])
                    group.append(member)
            return group


def _goes_on(waiter: Waiter[Any]) -> bool:
    return not isinstance(waiter, Future) or waiter.set_running_or_notify_cancel()


def _answer(group: list[tuple[T, Waiter[R]]], commit: Callable[[Sequence[T]], Sequence[R]]) -> None:
    try:
        answers = commit([member for member, _ in group])
    except Exception as error:  # noqa: BLE001  # handed to whoever waits for the answer
        if len(group) > 1 and not isinstance(error, LogUnavailable):
            for single in group:
                _answer([single], commit)
        else:
            told = error if isinstance(error, EventLogError) else RuntimeError(str(error))
            _tell([(waiter, told) for _, waiter in group])
        return
    _tell([(waiter, answer) for (_, waiter), answer in zip(group, answers, strict=True)])


def _tell(answers: Sequence[tuple[Waiter[R], R | Exception]]) -> None:
    """Each waiter its answer; those of one event loop are told in one call, which is what costs."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[R], R | Exception]]] = defaultdict(
        list
    )
    for waiter, answer in answers:
        if isinstance(waiter, asyncio.Future):
            by_loop[waiter.get_loop()].append((waiter, answer))
        else:
            _settle(waiter, answer)
    for loop, told in by_loop.items():
        # A loop that has ended has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle_all, told)


def _settle_all(answers: Sequence[_Told[R]]) -> None:
    for waiter, answer in answers:
        if not waiter.done():
            _settle(waiter, answer)


def _settle(waiter: Waiter[R], answer: R | Exception) -> None:
    if isinstance(answer, Exception):
        waiter.set_exception(answer)
    else:
        waiter.set_result(answer)
