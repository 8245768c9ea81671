"""A channel that stops where it is told to, until it may go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from notification_domain.outcomes import Outcome
from tests.workers.conftest import Office, until
from workers.channels.port import Channel, Message, PointOfNoReturn


class Gate:
    """Holds deliveries before their point of no return, or with ``after`` when they have their outcome.

    With ``first_only`` later ones pass: the held worker may claim again what it lost, like any other.
    """

    def __init__(self, *, after: bool = False, first_only: bool = False) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()
        self._after = after
        self._first_only = first_only

    def wrap(self, channel: Channel) -> Channel:
        return _Gated(channel, self, after=self._after)

    async def pass_through(self) -> None:
        if self._first_only and self.reached.is_set():
            return
        self.reached.set()
        await self.open.wait()


class _Gated:
    def __init__(self, channel: Channel, gate: Gate, *, after: bool) -> None:
        self.provider = channel.provider
        self.at_once = channel.at_once
        self._channel = channel
        self._gate = gate
        self._after = after

    async def deliver(self, message: Message, begin: PointOfNoReturn) -> Outcome | None:
        if self._after:
            outcome = await self._channel.deliver(message, begin)
            await self._gate.pass_through()
            return outcome

        async def held_back() -> bool:
            await self._gate.pass_through()
            return await begin()

        return await self._channel.deliver(message, held_back)

    async def close(self) -> None:
        await self._channel.close()


@asynccontextmanager
async def held_at_the_point_of_no_return(office: Office) -> AsyncIterator[Gate]:
    """A worker has everything ready; it asks whether it may transmit when the block ends."""
    gate = Gate()
    office.story.handle()
    async with office.working(office.routes(gate.wrap)):
        await gate.reached.wait()
        yield gate
        gate.open.set()
        await until(lambda: not office.busy())
