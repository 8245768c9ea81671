"""What a worker has done since it began, in numbers that anyone may read at any moment."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from datetime import datetime
from typing import TypeAlias

from notification_domain.outcomes import Outcome
from workers.recording import Held

Kind: TypeAlias = tuple[str, str]
"""Channel and message type."""

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


class Spread:
    """How many durations fell into each of the steps of ``SECONDS``, the last of which is open."""

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.sum += seconds


class Tally:
    def __init__(self) -> None:
        self.attempts: Counter[tuple[str, str, str]] = Counter()
        """By kind and outcome."""
        self.retries: Counter[Kind] = Counter()
        """Attempts after the first of their cycle."""
        self.queued: defaultdict[str, Spread] = defaultdict(Spread)
        """By channel: from the time a notification was due to its attempt."""
        self.sending: defaultdict[str, Spread] = defaultdict(Spread)
        """By channel: from the turn of an attempt to its answer."""
        self.recorded = 0
        """Results, whether or not somebody else had come first."""

    def begun(self, held: Held, now: datetime) -> None:
        progress = held.progress
        self.queued[held.request.channel].observe(max((now - progress.not_before).total_seconds(), 0.0))
        if progress.backoff is not None or progress.unknowns:
            self.retries[kind_of(held)] += 1

    def ended(self, held: Held, outcome: Outcome, seconds: float) -> None:
        """Its result is recorded."""
        self.attempts[*kind_of(held), type(outcome).__name__.lower()] += 1
        self.sending[held.request.channel].observe(seconds)
        self.recorded += 1


def kind_of(held: Held) -> Kind:
    return held.request.channel, held.request.message_type
