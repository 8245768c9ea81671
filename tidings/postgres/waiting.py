"""Wait on a condition that no descriptor reports."""

import time
from collections.abc import Callable

PAUSE = 0.02


def comes_true(condition: Callable[[], bool], *, within: float) -> bool:
    """Look again and again for up to so many seconds, at least once."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(PAUSE)
    return True
