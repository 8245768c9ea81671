"""Two providers, as SMTP and an HTTP interface behave, with a ledger of what they took.

They stand outside: no crash of ours touches them, and what was handed over is taken even if nobody is
left to hear the answer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from benchmarks.simulated.duties import lease_of
from notification_domain.outcomes import Deferred, Delivered, Outcome, Rejected, Unknown
from workers.channels.port import Mail, Message, PointOfNoReturn, TextMessage

if TYPE_CHECKING:
    from benchmarks.simulated.world import World

PATIENCE = 120.0
"""Seconds a channel waits for the answer to what it has handed over."""


class Copy(msgspec.Struct, frozen=True):
    """One message a provider took."""

    notification: UUID
    message_id: str
    code: str
    recipient: str
    attempt: int
    head: int
    """Last position of the log when it was taken."""
    at: float


class SimulatedChannel:
    """One process's client of a provider."""

    provider = "provider"

    def __init__(self, world: World, name: str, at_once: int) -> None:
        self.world = world
        self.name = name
        self.at_once = at_once

    async def deliver(self, message: Message, begin: PointOfNoReturn) -> Outcome | None:
        duties, lease = self.world.duties, lease_of(begin)
        outcome = await self._before(message) or await self._transmit(message, begin)
        if outcome is None:
            duties.refrain(lease)
        else:
            duties.answer(lease)
        return outcome

    async def _transmit(self, message: Message, begin: PointOfNoReturn) -> Outcome | None:
        world = self.world
        world.stage()
        if not await begin():
            return None
        world.stage()
        await asyncio.sleep(world.provider_delay())
        answer = asyncio.get_running_loop().create_future()
        world.hand_over(begin, message, answer)
        world.stage()
        try:
            async with asyncio.timeout(PATIENCE):
                outcome: Outcome = await answer
                world.stage()
                return outcome
        except TimeoutError:
            return Unknown("dot", "no answer")

    async def _before(self, message: Message) -> Outcome | None:
        world = self.world
        world.stage(message)
        await asyncio.sleep(world.provider_delay())
        if not world.in_trouble():
            return None
        return world.random.choice(
            (
                Deferred("connect", "refused"),
                Deferred("mail", "450 busy", retry_after=30.0),
                Deferred("auth", "535 who are you", account_fault=True),
                Rejected("rcpt", "550 nobody here"),
                None,
            )
        )

    async def close(self) -> None:
        pass


_UNCLEAR = ((True, Unknown("dot", "cut after taking")), (False, Unknown("dot", "cut before taking")))


def judged(world: World) -> tuple[bool, Outcome | None]:
    """Whether the provider takes what was handed over, and what it answers; None: nothing, ever."""
    if world.chaos and world.options.deadly_later:
        return False, Deferred("dot", "451 later")
    if world.is_unclear():
        return world.whims.choice((*_UNCLEAR, *_UNCLEAR, (True, None), (False, None)))
    if not world.in_trouble():
        return True, Delivered("id", "250 ok")
    return world.random.choice(
        (
            (False, Deferred("dot", "451 later")),
            (False, Deferred("dot", "454 account", account_fault=True)),
            (False, Rejected("dot", "554 no")),
            *_UNCLEAR,
            (True, None),
            (False, None),
        )
    )


def plain_text(message: Message) -> list[str]:
    """Message id, notification and code, as the simulated renderer wrote them.

    A provider makes codes of its own.
    """
    if isinstance(message, TextMessage) and message.verification:
        name = message.context.message_id
        return [name, name.partition(".")[0], ""]
    text = message.content.decode() if isinstance(message, Mail) else message.body
    return text.split("|")


def addressee(message: Message) -> str:
    assert isinstance(message, Mail | TextMessage)
    return message.recipient
