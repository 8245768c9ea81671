"""What every long-running process shares: it ends gracefully on SIGINT and SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import uvloop

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_GARBAGE = (20_000, 50, 100)
"""New containers before a collection, then younger collections before one of the older generations.

Nearly all that is made is freed by its last reference; looking for cycles as often as is usual took a tenth
of the workers' time, and more of the handler's.
"""


_SWITCH_SECONDS = 0.0005
"""How long a thread waits for one that computes: with the usual ten times of it, each answer of the database
would lie about for longer than it took."""


def tune_interpreter() -> None:
    """For the rest of this process; what was loaded until now is never looked at for garbage again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE)
    sys.setswitchinterval(_SWITCH_SECONDS)


def run_fast(process: Coroutine[Any, Any, None]) -> None:
    """As asyncio.run, on the faster loop."""
    tune_interpreter()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(process)


@contextmanager
def stop_on_signals() -> Iterator[asyncio.Event]:
    """The event is set at the first signal; a second one ends the process the hard way."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def ask() -> None:
        # Whichever of the two comes next, it is the second one.
        for number in _NUMBERS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        asked.set()

    for number in _NUMBERS:
        loop.add_signal_handler(number, ask)
    try:
        yield asked
    finally:
        for number in _NUMBERS:
            loop.remove_signal_handler(number)
