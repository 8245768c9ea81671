"""Figures of several runs: the one in the middle, and between which they lie."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec


class Figures(msgspec.Struct, frozen=True):
    values: tuple[float, ...]
    """In the order of the runs."""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        digits = 0 if self.median >= 100 else 2
        middle, least, most = self.median, min(self.values), max(self.values)
        if len(self.values) == 1:
            return f"{middle:,.{digits}f}"
        return f"{middle:,.{digits}f} ({least:,.{digits}f} to {most:,.{digits}f})"


def ratios(mine: Figures, theirs: Figures) -> Figures:
    """Run by run, so that what else the machine did in one is in both."""
    return Figures(tuple(one / other for one, other in zip(mine.values, theirs.values, strict=True)))


def percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
