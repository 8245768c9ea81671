"""Waiting for something to become true, with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_PAUSE = 0.01


def wait_until(condition: Callable[[], bool], within: float = 10.0) -> None:
    """Raises TimeoutError when the condition is still false after ``within`` seconds."""
    deadline = time.monotonic() + within
    never = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"still not so after {within} s")
        never.wait(_PAUSE)
