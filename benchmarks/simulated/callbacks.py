"""Providers that report later what became of a message: once, whenever it suits them, trying a few times."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from benchmarks.simulated.loop import Process
from event_log import feedback
from event_log.callbacks import Reference
from event_log.errors import EventLogError
from event_log.feedback import Report
from notification_domain.notification_events import Standing

if TYPE_CHECKING:
    from benchmarks.simulated.world import World

TRIES = 3
AGAIN_AFTER = 5.0
"""Seconds."""


class Callbacks:
    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._random = Random(seed)

    def about(self, reference: Reference, *, taken: bool) -> None:
        """Perhaps a report is to come on what was handed over."""
        if self._random.random() < self._world.options.calls_back:
            report = Report("taken", Standing.ACCEPTED) if taken else Report("failed", Standing.FAILED)
            self._later(self._random.choice((0.0, 0.25, 2.0, 20.0, 60.0)), reference, report, TRIES)

    def _later(self, seconds: float, reference: Reference, report: Report, tries: int) -> None:
        if tries:
            self._world.loop.world.after(seconds, self._call, reference, report, tries)

    def _call(self, reference: Reference, report: Report, tries: int) -> None:
        api = next(iter(self._world.living("api")), None)
        if api is None:
            self._later(AGAIN_AFTER, reference, report, tries - 1)
        else:
            api.after(0.0, self._serve, api, reference, report, tries)

    def _serve(self, api: Process, reference: Reference, report: Report, tries: int) -> None:
        try:
            feedback.hear(self._world.log_of(api), reference, report)
        except EventLogError as error:
            self._world.hear_excuse("feedback", error)
            self._later(AGAIN_AFTER, reference, report, tries - 1)
