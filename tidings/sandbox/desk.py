"""What every endpoint of the sandbox works on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from random import Random

import msgspec

from tidings.sandbox.faults import Fault, FaultBook, FaultyChannel
from tidings.sandbox.ledger import Ledger


def _random_ids() -> Callable[[], str]:
    chance = Random()  # noqa: S311 - identifiers are to differ, not to be hard to guess
    return lambda: f"{chance.getrandbits(128):032x}"


class Sources(msgspec.Struct, frozen=True):
    """Time and chance; ``new_id`` answers 32 hexadecimal digits that never repeat."""

    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    new_id: Callable[[], str] = msgspec.field(default_factory=_random_ids)


class Desk(msgspec.Struct, frozen=True):
    ledger: Ledger
    faults: FaultBook
    sources: Sources

    def take(self, channel: FaultyChannel, stage: str, *recipients: str) -> Fault | None:
        return self.faults.take(channel, stage, recipients)

    def new_id(self, prefix: str) -> str:
        """34 characters, in the manner of Twilio's identifiers."""
        return prefix + self.sources.new_id()

    def now(self) -> datetime:
        return self.sources.clock()
