"""What a worker owes as long as it lives: to make the attempts it began, and to tell what came of them."""

from __future__ import annotations

from typing import Any, TypeAlias
from uuid import UUID

from benchmarks.simulated.loop import CURRENT, Process

Lease: TypeAlias = tuple[UUID, int]
"""notification, token"""


class Duties:
    def __init__(self) -> None:
        self._owed: dict[Lease, tuple[Process, str]] = {}
        self._intents: set[Lease] = set()
        """Whose transmission was announced to their workers."""

    def attempt(self, lease: Lease) -> None:
        """It has begun one: the channel is to have the message."""
        self._owe(lease, "the attempt")

    def intend(self, lease: Lease) -> None:
        """It is told that its transmission has begun."""
        self._intents.add(lease)

    def refrain(self, lease: Lease) -> None:
        """The channel was not to transmit."""
        if lease in self._intents:
            self._owe(lease, "the message")

    def answer(self, lease: Lease) -> None:
        """The channel has told what came of it."""
        self._owe(lease, "the outcome")

    def settle(self, lease: Lease) -> None:
        """It has done what it owed, or the channel is at it."""
        self._owed.pop(lease, None)

    def is_told(self, lease: Lease) -> bool:
        return lease in self._intents

    def unmet(self) -> list[str]:
        return [
            f"{process.name} owes {what} of {lease[0]}"
            for lease, (process, what) in self._owed.items()
            if process.alive
        ]

    def _owe(self, lease: Lease, what: str) -> None:
        self._owed[lease] = (CURRENT.get(), what)


def lease_of(begin: Any) -> Lease:  # noqa: ANN401  # a delivery's point of no return
    """Of the delivery that a channel is given."""
    lease: Lease = begin.__self__.lease
    return lease
