"""One attempt under way: its turn, its point of no return, its outcome."""

from __future__ import annotations

import asyncio
from typing import Protocol, assert_never

from msgspec.structs import replace

from event_log.due_queue import Lease
from event_log.failpoints import failpoint
from notification_domain.outcomes import Deferred, Outcome, Unknown
from workers.preparing import Prepared
from workers.recording import Held, Subject
from workers.stages import Stage, Staged
from workers.tally import Tally
from workers.turns import Rank


class Steps(Protocol):
    """What a worker does for a delivery."""

    async def send(self, prepared: Prepared, delivery: Delivery) -> Outcome | None:
        """One attempt on the channel."""

    async def transmit(self, subject: Subject) -> Held | None:
        """Record that transmission begins; None when it must not."""

    async def record(self, subject: Subject, outcome: Outcome, prepared: Prepared) -> None:
        """Record what became of it."""


class Delivery(Staged):
    """One attempt under way."""

    def __init__(self, steps: Steps, subject: Subject, prepared: Prepared, rank: Rank) -> None:
        super().__init__()
        self._steps = steps
        self._subject = subject
        self.prepared = prepared
        self.rank = rank
        self.limit: asyncio.Timeout | None = None
        self._outcome: Outcome | None = None

    @property
    def subject(self) -> Subject:
        return self._subject

    @property
    def lease(self) -> Lease:
        return self._subject.held.notification, self._subject.held.token

    async def run(self) -> None:
        self._outcome = await self._steps.send(self.prepared, self)
        self.stage = Stage.ANSWERED
        failpoint("worker.answered")
        if self._outcome is not None:
            await self._steps.record(self._subject, self._outcome, self.prepared)

    async def begin(self) -> bool:
        """The point of no return; from here on only the channel's own time limits hold."""
        self.stage = Stage.ASKING
        held = await self._steps.transmit(self._subject)
        if held is None:
            return False
        self.stage = Stage.TRANSMITTING
        self._subject = replace(self._subject, held=held)
        if self.limit is not None:
            self.limit.reschedule(None)
        failpoint("worker.transmitting")
        return True

    def count(self, tally: Tally) -> None:
        seconds = self.seconds_on_the_channel()
        if self._outcome is not None and seconds is not None:
            tally.ended(self._subject.held, self._outcome, seconds)

    def last_word(self) -> Outcome | None:
        """What is to be recorded when it is cut short; None when nothing has happened that matters."""
        match self.stage:
            case Stage.WAITING | Stage.DISPATCHING:
                return None
            case Stage.ASKING:
                # The intent may be recorded, but nothing has left; no message pays for our stopping.
                return Deferred("process", "the worker stopped before transmission", account_fault=True)
            case Stage.TRANSMITTING:
                return Unknown("process", "the worker stopped during transmission")
            case Stage.ANSWERED:
                return self._outcome
            case _:
                assert_never(self.stage)
