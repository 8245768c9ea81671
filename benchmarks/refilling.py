"""A backlog that keeps its size while it is worked off, from a process of its own.

What was sent is counted in the log, from where the last look ended, and as many new triggers are appended:
the same work whatever the backlog's size. Their people are known beforehand and have had no message yet.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path

import msgspec

from benchmarks.feeding import INVITATION, person, tell, trigger
from event_log.log import Log
from tidings.composition import open_log
from tidings.settings import Settings

INSTANCE = "bench"
LOAD = 1000
"""Events a transaction while nobody measures."""
REFILL = 50
"""Events a transaction while somebody does: the append lock is held for few milliseconds."""
EVERY = 0.05
"""Seconds between two looks at what was sent."""

_SENT_SINCE = b"""
SELECT count(*) FILTER (WHERE topic = 'notification.sent' AND instance_id = %(instance)s),
       coalesce(max(notification_id), %(after)s)
  FROM events
 WHERE notification_id > %(after)s
"""
_HEAD = b"SELECT coalesce(max(notification_id), 0) FROM events"


class Backlog(msgspec.Struct, frozen=True):
    data: Path
    conninfo: str
    size: int
    spare: int
    """People beyond those of the first triggers: no more than that may be sent."""

    @contextmanager
    def log(self) -> Iterator[Log]:
        with open_log(Settings(data_dir=self.data), self.conninfo, "bench") as log:
            yield log


class Worked:
    """What the refill has seen to be sent so far, as it goes on."""

    def __init__(self, sent: Synchronized[int]) -> None:
        self._sent = sent

    @property
    def sent(self) -> int:
        return self._sent.value


def fill(backlog: Backlog) -> None:
    """Append straight to the log what would take long over REST."""
    with backlog.log() as log:
        for numbers in _portions(range(backlog.size), LOAD // 2):
            tell(log, INSTANCE, [e for n in numbers for e in (person(n), trigger(n, INVITATION))])
        for numbers in _portions(range(backlog.size, backlog.size + backlog.spare), LOAD):
            tell(log, INSTANCE, [person(n) for n in numbers])


@contextmanager
def kept_full(backlog: Backlog) -> Iterator[Worked]:
    """Refilled for as long as the context is open. Raises when the refill came to an end before."""
    context = multiprocessing.get_context("spawn")
    sent: Synchronized[int] = context.Value("q", 0)
    begun, over = context.Event(), context.Event()
    process = context.Process(target=_keep_full, args=(backlog, sent, begun, over), daemon=True)
    process.start()
    try:
        while not begun.wait(0.1) and process.is_alive():
            pass
        yield Worked(sent)
        if not process.is_alive():
            raise RuntimeError("the refill came to an end: too few spare people?")
    finally:
        over.set()
        process.join(10)
        process.kill()


def _keep_full(backlog: Backlog, sent: Synchronized[int], begun: Event, over: Event) -> None:
    people = iter(range(backlog.size, backlog.size + backlog.spare))
    with backlog.log() as log:
        seen = _head(log)
        begun.set()
        while not over.wait(EVERY):
            fresh, seen = _sent_since(log, seen)
            for portion in _portions(range(fresh), REFILL):
                tell(log, INSTANCE, [trigger(next(people), INVITATION) for _ in portion])
            sent.value += fresh


def _head(log: Log) -> int:
    with log.database.connection() as connection:
        row = connection.execute(_HEAD).fetchone()
    assert row
    return int(row[0])


def _sent_since(log: Log, after: int) -> tuple[int, int]:
    """How many were sent behind a position, and the last position looked at."""
    with log.database.connection() as connection:
        row = connection.execute(_SENT_SINCE, {"instance": INSTANCE, "after": after}).fetchone()
    assert row
    return int(row[0]), int(row[1])


def _portions(numbers: range, size: int) -> Iterator[range]:
    for first in range(numbers.start, numbers.stop, size):
        yield range(first, min(first + size, numbers.stop))
