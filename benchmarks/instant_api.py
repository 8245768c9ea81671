"""The api as it is, but with an intake that answers at once and stores nothing: ingest without a database.

`python -m benchmarks.instant_api api`. Only keys are still looked up, once a second, as in the real one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from event_log.intake import Appended, BatchAnswer, CallerEvent
from event_log.log import Log
from tidings import api_process
from tidings.__main__ import main


class InstantIntake:
    def __init__(self, _: Log) -> None:
        self._positions = itertools.count(1)

    def prepare(self, instance: str, events: Sequence[CallerEvent]) -> tuple[str, Sequence[CallerEvent]]:
        return instance, events

    async def commit(self, batch: tuple[str, Sequence[CallerEvent]]) -> BatchAnswer:
        return tuple(Appended(event.id, next(self._positions), False) for event in batch[1])

    def close(self) -> None:
        """Nothing waits."""


if __name__ == "__main__":
    setattr(api_process, "Intake", InstantIntake)  # noqa: B010  # what the module imports is not its own to give
    main()
