"""Bugs planted on purpose, to show that the simulation bites: each replaces a few functions for a while."""

from __future__ import annotations

from benchmarks.simulated import planted_sending, planted_storing
from benchmarks.simulated.planting import names, planted

__all__ = ["names", "planted", "planted_sending", "planted_storing"]
