"""What every channel must do, whatever it speaks; imported by the tests of each channel, not collected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias

import msgspec
import pytest

from notification_domain.outcomes import Deferred, Delivered, Rejected, Unknown
from workers.channels.port import Channel, Message


class Ledger(Protocol):
    """What the far end knows."""

    async def everyone_left(self) -> None:
        """Returns when no connection is open."""

    def taken(self) -> int:
        """How many messages arrived whole."""

    def touched(self) -> int:
        """How many messages arrived at least in part."""


class Rig(msgspec.Struct, frozen=True):
    """A channel and its far end, which behaves as asked for."""

    channel: Channel
    ledger: Ledger
    message: Message
    bad_message: Message
    """One that the channel itself must refuse."""


RigMaker: TypeAlias = Callable[[str], AbstractAsyncContextManager[Rig]]
"""Called with ``honest``, ``refuses``, ``absent``, ``silent`` (takes the message, never answers)."""


class Witness:
    """A point of no return that notes what the far end had when it was asked."""

    def __init__(self, ledger: Ledger, *, allows: bool = True) -> None:
        self.touched_at: list[int] = []
        self._ledger = ledger
        self._allows = allows

    async def __call__(self) -> bool:
        await asyncio.sleep(0)
        self.touched_at.append(self._ledger.touched())
        return self._allows


class ChannelContract:
    """A subclass gives a fixture ``rig_maker``."""

    async def test_reports_delivered_when_the_next_hop_took_it(self, rig_maker: RigMaker) -> None:
        async with rig_maker("honest") as rig:
            outcome = await rig.channel.deliver(rig.message, Witness(rig.ledger))
            assert isinstance(outcome, Delivered)
            assert rig.ledger.taken() == 1

    async def test_asks_once_and_before_anything_of_the_message_left_when_delivering(
        self, rig_maker: RigMaker
    ) -> None:
        async with rig_maker("honest") as rig:
            for sent_before in range(3):
                witness = Witness(rig.ledger)
                await rig.channel.deliver(rig.message, witness)
                assert witness.touched_at == [sent_before]

    async def test_transmits_nothing_when_the_point_of_no_return_is_refused(
        self, rig_maker: RigMaker
    ) -> None:
        async with rig_maker("honest") as rig:
            witness = Witness(rig.ledger, allows=False)
            assert await rig.channel.deliver(rig.message, witness) is None
            await rig.channel.close()
            await rig.ledger.everyone_left()
            assert witness.touched_at == [0]
            assert rig.ledger.touched() == 0

    async def test_delivers_the_next_message_when_the_last_was_refused_by_us(
        self, rig_maker: RigMaker
    ) -> None:
        async with rig_maker("honest") as rig:
            await rig.channel.deliver(rig.message, Witness(rig.ledger, allows=False))
            outcome = await rig.channel.deliver(rig.message, Witness(rig.ledger))
            assert isinstance(outcome, Delivered)
            assert rig.ledger.taken() == 1

    async def test_passes_on_what_the_point_of_no_return_raises(self, rig_maker: RigMaker) -> None:
        async def broken() -> bool:
            await asyncio.sleep(0)
            raise LookupError

        async with rig_maker("honest") as rig:
            with pytest.raises(LookupError):
                await rig.channel.deliver(rig.message, broken)
            await rig.channel.close()
            await rig.ledger.everyone_left()
            assert rig.ledger.touched() == 0

    async def test_rejects_without_asking_when_the_message_itself_is_bad(self, rig_maker: RigMaker) -> None:
        async with rig_maker("honest") as rig:
            witness = Witness(rig.ledger)
            outcome = await rig.channel.deliver(rig.bad_message, witness)
            assert isinstance(outcome, Rejected)
            assert outcome.stage == "local"
            assert witness.touched_at == []

    async def test_rejects_when_the_next_hop_refuses_for_good(self, rig_maker: RigMaker) -> None:
        async with rig_maker("refuses") as rig:
            assert isinstance(await rig.channel.deliver(rig.message, Witness(rig.ledger)), Rejected)

    async def test_defers_when_nobody_is_there(self, rig_maker: RigMaker) -> None:
        async with rig_maker("absent") as rig:
            outcome = await rig.channel.deliver(rig.message, Witness(rig.ledger))
            assert isinstance(outcome, Deferred)
            assert outcome.stage == "connect"
            assert not outcome.account_fault

    async def test_admits_not_to_know_when_the_answer_never_comes(self, rig_maker: RigMaker) -> None:
        async with rig_maker("silent") as rig:
            assert isinstance(await rig.channel.deliver(rig.message, Witness(rig.ledger)), Unknown)
            assert rig.ledger.taken() == 1

    async def test_lets_go_of_the_connection_when_cancelled(self, rig_maker: RigMaker) -> None:
        reached = asyncio.Event()

        async def never() -> bool:
            reached.set()
            return bool(await asyncio.Event().wait())

        async with rig_maker("honest") as rig:
            delivery = asyncio.create_task(rig.channel.deliver(rig.message, never))
            await reached.wait()
            delivery.cancel()
            with pytest.raises(asyncio.CancelledError):
                await delivery
            await rig.channel.close()
            await rig.ledger.everyone_left()
            assert rig.ledger.touched() == 0

    async def test_leaves_no_connection_and_no_task_when_closed(self, rig_maker: RigMaker) -> None:
        async with rig_maker("honest") as rig:
            before = asyncio.all_tasks()
            sending = (rig.channel.deliver(rig.message, Witness(rig.ledger)) for _ in range(5))
            assert all(isinstance(outcome, Delivered) for outcome in await asyncio.gather(*sending))
            await rig.channel.close()
            await rig.ledger.everyone_left()
            ours = {task for task in asyncio.all_tasks() - before if "workers" in repr(task.get_coro())}
            assert ours == set()
