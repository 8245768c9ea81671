"""Wake-ups: one LISTEN connection a process, fanned out. A notification is a hint; readers poll behind it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import psycopg

from event_log.recorder import WAKE_CHANNEL

_logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


class Wakeups:
    """Listens in a thread of its own and calls whoever subscribed to a kind of event."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._subscribers: list[tuple[frozenset[str], Callable[[], None]]] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wake-ups", daemon=True)

    def subscribe(self, *kinds: str, call: Callable[[], None]) -> None:
        """``call`` runs in the listening thread: it must return at once and be safe there."""
        self._subscribers.append((frozenset(kinds), call))

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopped.is_set():
            try:
                with psycopg.connect(self._conninfo, autocommit=True) as connection:
                    connection.execute(f"LISTEN {WAKE_CHANNEL}")
                    pause = _FIRST_PAUSE
                    # What was appended while nobody listened is caught up with.
                    self._wake(None)
                    self._listen(connection)
            except psycopg.Error as error:
                _logger.warning("wake-ups lost, polling goes on: %s", str(error).strip())
                self._stopped.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _listen(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        while not self._stopped.is_set():
            # Short waits, so that stopping is noticed; they cost one system call each.
            for note in connection.notifies(timeout=0.2, stop_after=1):
                self._wake(frozenset(note.payload.split(",")))

    def _wake(self, kinds: frozenset[str] | None) -> None:
        for wanted, call in self._subscribers:
            if kinds is None or wanted & kinds:
                call()
