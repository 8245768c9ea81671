"""What every endpoint of the sandbox works on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import msgspec

from tidings.sandbox.faults import Fault, FaultBook, FaultyChannel
from tidings.sandbox.ledger import Ledger


class Sources(msgspec.Struct, frozen=True):
    """Time and chance; ``new_id`` answers 32 hexadecimal digits that never repeat."""

    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    new_id: Callable[[], str] = lambda: uuid4().hex


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
