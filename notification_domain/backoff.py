"""How long to wait before the next attempt."""

from __future__ import annotations

from datetime import timedelta

import msgspec


class RetryPolicy(msgspec.Struct, frozen=True):
    """Bounds of the exponential backoff, in seconds, and of the attempts in one cycle."""

    max_attempts: int = 20
    min_delay: float = 5.0
    max_delay: float = 1800.0
    factor: float = 2.0
    """Growth from one delay to the next; below 1 counts as 1."""
    jitter: float = 1.0
    """How much of the growth is left to chance, in [0, 1]."""


def next_delay(previous: timedelta | None, policy: RetryPolicy, jitter: float) -> timedelta:
    """The delay after ``previous`` (None: the first), uniform in [delay, delay x factor), capped.

    With less than full jitter in the policy it is drawn from the upper part of that range alone; the first
    delay from the lower. ``jitter`` in [0, 1) is the chance. It grows the next delay and never exceeds the
    cap, as in ZITADEL's notification workers (row S1.17 of docs/parity.md).
    """
    base = policy.min_delay if previous is None else max(previous.total_seconds(), policy.min_delay)
    growth = max(policy.factor, 1.0) - 1.0
    certain = 0.0 if previous is None else 1.0 - policy.jitter
    return timedelta(seconds=min(base * (1 + growth * (certain + policy.jitter * jitter)), policy.max_delay))
