"""A worker that tells how much processor time its steps took: `python -m benchmarks.timed_worker worker`.

Timed by thread, each step without those inside it, which makes the whole a little slower. Its mails are long.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.long_texts import lengthen
from tidings.__main__ import main

TIMED = "benchmarks.timed_worker"
TOLD = "BENCH_STEPS_FILE"
"""Where the steps' seconds go when the worker ends."""
STEPS = {
    "claim": "event_log.due_queue:claim",
    "load, fold": "workers.starting:load",
    "prepare": "workers.starting:prepare_message",
    "render": "workers.preparing:render",
    "build": "workers.rendering.render:assemble",
    "start (intent)": "workers.starting:advance",
    "record (intent, outcome)": "workers.recorder:advance",
}
"""Each by the name under which its caller calls it."""
SEND = "send (the event loop)"
OTHER = "other"


class Steps:
    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._here = threading.local()
        self._loop = 0.0
        self._process = 0.0

    def begin(self) -> None:
        """In the loop's thread, when the worker is ready: what it cost to get there is not counted."""
        self._loop, self._process = time.thread_time(), time.process_time()

    def timed(self, step: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timing(*given: Any, **named: Any) -> Any:  # noqa: ANN401  # whatever the step takes and gives
            outer, self._here.inner = getattr(self._here, "inner", 0.0), 0.0
            began = time.thread_time()
            try:
                return work(*given, **named)
            finally:
                took = time.thread_time() - began
                self._seconds[step] += took - self._here.inner
                self._here.inner = outer + took

        return timing

    def told(self) -> dict[str, float]:
        """In the loop's thread, at the end."""
        told = dict(self._seconds)
        told[SEND] = time.thread_time() - self._loop - getattr(self._here, "inner", 0.0)
        told[OTHER] = time.process_time() - self._process - sum(told.values())
        return told


def run() -> None:
    lengthen()
    steps = Steps()
    for step, name in STEPS.items():
        _replace(name, partial(steps.timed, step))
    _replace("tidings.worker_process:say_ready", partial(_both, steps.begin))
    try:
        main()
    finally:
        Path(os.environ[TOLD]).write_text(json.dumps(steps.told()))


def _replace(name: str, made: Callable[[Any], Any]) -> None:
    module_name, _, attribute = name.partition(":")
    module = import_module(module_name)
    setattr(module, attribute, made(getattr(module, attribute)))


def _both(first: Callable[[], None], second: Callable[[], None]) -> Callable[[], None]:
    def both() -> None:
        first()
        second()

    return both


if __name__ == "__main__":
    run()
