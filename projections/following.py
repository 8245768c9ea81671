"""The loop that drives a projection: wake up, take rounds until nothing is left, back off when one fails.

Our own, because the library's runner stops for everybody at the first event it cannot digest.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import psycopg
from psycopg.rows import TupleRow

from event_log.database import Database
from event_log.envelope import RecordedEvent
from event_log.errors import EventLogError
from event_log.failpoints import failpoint
from event_log.log import Log, read_after
from projections import tracking
from projections.unknown_events import readable

_logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""Wake-ups are only hints: this is the longest an event waits when one is lost."""
BATCH = 5000
GATHER_SECONDS = 0.1
"""How long a trailing read model lets events gather: most notifications then go from waiting to sent in one
step, which is written once."""
_REST = 4
"""Times what a round took, until the next one, where events are let gather: the busier all are, the more of
them the next one finds. Who waits for a position waits so much longer at most."""
_LONGEST_REST = 0.5
"""Seconds."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_LONGEST_SILENCE = 1.0
"""Seconds between two words of a leader; well below IDLE_IN_TRANSACTION_SECONDS."""
_STILL_HERE = "SELECT 1"


class Projection(Protocol):
    """A trailing read model; ``apply`` runs inside the transaction that moves its tracking."""

    name: str

    def apply(self, connection: psycopg.Connection[TupleRow], events: Sequence[RecordedEvent]) -> None: ...


class Follower:
    """Runs ``take_round`` (how many events it handled) whenever there may be something to do.

    What comes after a pause is handled at once; while there is always something, rounds that handle fewer
    than ``BATCH`` events come ``gather`` seconds apart or more, so that each finds more.

    Only one process at a time leads a projection; the others stand by and take over within a second
    or so of the leader's connection going away.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        take_round: Callable[[], int],
        *,
        poll: float = POLL_SECONDS,
        gather: float = 0.0,
        leads: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._name = name
        self._take_round = take_round
        self._poll = poll
        self._gather = gather
        self._leads = leads
        self._woken = threading.Event()
        self._pause = _FIRST_PAUSE
        self.failures = 0

    def wake(self) -> None:
        self._woken.set()

    def run(self, stopped: threading.Event) -> None:
        """Until ``stopped``; whoever sets it should call ``wake`` too."""
        while not stopped.is_set():
            try:
                self._lead(stopped)
            except EventLogError as error:
                _logger.warning("%s: %s; trying again in %.1f s", self._name, error, self._pause)
                self._back_off(stopped)
            except Exception:
                _logger.exception("%s: a round failed; trying again in %.1f s", self._name, self._pause)
                self._back_off(stopped)

    def _back_off(self, stopped: threading.Event) -> None:
        self.failures += 1
        stopped.wait(self._pause)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def _lead(self, stopped: threading.Event) -> None:
        with self._database.connection() as connection, connection.transaction():
            # The lock lives with a transaction that does nothing else: of a process that stands still, the
            # server ends it after IDLE_IN_TRANSACTION_SECONDS, and somebody else leads.
            cursor = connection.cursor(binary=True)
            while not tracking.try_to_lead(cursor, self._name):
                if stopped.wait(min(self._poll, _LONGEST_SILENCE)):
                    return
            self._leads()
            self._follow(cursor, stopped)

    def _follow(self, leadership: psycopg.Cursor[Any], stopped: threading.Event) -> None:
        while not stopped.is_set():
            self._woken.clear()
            began = time.monotonic()
            while (handled := self._take_round()) and not stopped.is_set():
                leadership.execute(_STILL_HERE)
                if self._gather and handled < BATCH:
                    stopped.wait(max(self._gather, min(_REST * (time.monotonic() - began), _LONGEST_REST)))
                began = time.monotonic()
            self._pause = _FIRST_PAUSE
            self._rest(leadership)

    def _rest(self, leadership: psycopg.Cursor[Any]) -> None:
        """Until something may have happened; raises when somebody else may lead now."""
        left = self._poll
        while left > 0 and not self._woken.wait(min(left, _LONGEST_SILENCE)):
            leadership.execute(_STILL_HERE)
            left -= _LONGEST_SILENCE
        leadership.execute(_STILL_HERE)


def trailing_round(log: Log, projection: Projection, *, batch: int = BATCH) -> int:
    """One batch for a trailing read model of our own events; how many positions it moved over."""
    with log.database.connection() as connection:
        cursor = connection.cursor(binary=True)
        since = tracking.position(cursor, projection.name)
        page = read_after(log, cursor, since, batch, ours=True, callers=False)
        if page.passed:
            with connection.transaction():
                tracking.advance(cursor, projection.name, since, page.reached)
                if page.events:
                    projection.apply(connection, readable(cursor, projection.name, page.events))
                failpoint("projection.before_commit")
            failpoint("projection.after_commit")
        return page.passed
