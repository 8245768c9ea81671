"""What repeated measurements come to: medians, spreads and percentiles."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec


class Figure(msgspec.Struct, frozen=True):
    """Several runs of one measurement."""

    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.runs)

    @property
    def spread(self) -> float:
        """Between the lowest and the highest, as a share of the median."""
        return (max(self.runs) - min(self.runs)) / self.median if self.median else 0.0

    def shown(self, digits: int = 0) -> str:
        return f"{self.median:,.{digits}f} ±{self.spread / 2:.0%}"


def figure(runs: Sequence[float]) -> Figure:
    return Figure(tuple(runs))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Figure:
    """Run by run, so that whatever disturbed a run disturbed both sides."""
    return figure([one / other for one, other in zip(ours, theirs, strict=True)])


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
