"""An account at fault is left alone: longer each time, with one probe, and no message pays for it."""

from __future__ import annotations

import asyncio

import pytest

from event_log.errors import LogUnavailable
from event_log.provider_settings import AccountPause
from notification_domain.outcomes import Deferred, Delivered, Outcome, Rejected, Unknown
from tests.conftest import Clock
from tests.workers.conftest import until
from tests.workers.test_twilio_channel import Probe
from workers.accounts import FIRST_PAUSE, LONGEST_PAUSE, Account
from workers.channels.port import Message, PointOfNoReturn, TextMessage

MESSAGE = TextMessage("+41791234567", "hello")
REFUSED = Deferred("reply", "401 who?", account_fault=True)


class Answering:
    """A channel that gives the outcomes it was told to, and notes how often it was asked."""

    provider = "main"
    at_once = 5

    def __init__(self) -> None:
        self.outcomes: list[Outcome | None] = []
        self.asked = 0
        self.closed = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def deliver(self, message: Message, begin: PointOfNoReturn) -> Outcome | None:
        del message
        self.asked += 1
        outcome = self.outcomes.pop(0)
        await self.gate.wait()
        await begin()
        return outcome

    async def close(self) -> None:
        self.closed += 1


class Bench:
    def __init__(self, clock: Clock) -> None:
        self.channel = Answering()
        self.told: list[AccountPause | None] = []
        self.account = Account(self.channel, clock, self.told.append)

    async def send(self, *outcomes: Outcome | None) -> Outcome | None:
        self.channel.outcomes.extend(outcomes)
        return await self.account.deliver(MESSAGE, Probe())


@pytest.fixture
async def bench(clock: Clock) -> Bench:
    return Bench(clock)


async def test_nobody_is_asked_while_the_account_is_paused(bench: Bench) -> None:
    assert await bench.send(REFUSED) == REFUSED
    second = await bench.send()
    assert isinstance(second, Deferred)
    assert second.account_fault
    assert "401 who?" in second.error
    assert bench.channel.asked == 1
    assert bench.account.hindrance() == second.error


async def test_pauses_grow_up_to_a_cap_and_end_with_an_answer(bench: Bench, clock: Clock) -> None:
    lengths = []
    for _ in range(8):
        await bench.send(REFUSED)
        pause = bench.told[-1]
        assert pause is not None
        lengths.append(pause.until - clock())
        clock.now = pause.until
    assert lengths[:3] == [FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4]
    assert lengths[-1] == LONGEST_PAUSE
    assert isinstance(await bench.send(Delivered("SM1")), Delivered)
    assert bench.told[-1] is None
    assert bench.account.hindrance() is None
    await bench.send(REFUSED)
    assert bench.told[-1] == AccountPause("main", clock() + FIRST_PAUSE, 1, REFUSED.error)


async def test_one_message_probes_while_the_others_wait(bench: Bench, clock: Clock) -> None:
    await bench.send(REFUSED)
    clock.move(seconds=FIRST_PAUSE.total_seconds())
    bench.channel.gate.clear()
    probe = asyncio.create_task(bench.send(Delivered("SM1")))
    await until(lambda: bench.channel.asked == 2)
    assert isinstance(await bench.send(), Deferred)
    assert bench.account.hindrance() is not None
    bench.channel.gate.set()
    assert isinstance(await probe, Delivered)
    assert isinstance(await bench.send(Delivered("SM2")), Delivered)


async def test_many_refusals_at_once_are_one_fault(bench: Bench) -> None:
    bench.channel.gate.clear()
    sending = [asyncio.create_task(bench.send(REFUSED)) for _ in range(5)]
    await until(lambda: bench.channel.asked == 5)
    bench.channel.gate.set()
    await asyncio.gather(*sending)
    assert [pause.faults for pause in bench.told if pause] == [1]


@pytest.mark.parametrize(
    "outcome",
    [
        Deferred("connect", "refused"),
        Rejected("local", "no number"),
        Rejected("mail", "550 no such sender"),
        Unknown("request", "cut"),
        None,
    ],
)
async def test_the_pause_stays_when_the_probe_tells_nothing(
    bench: Bench, clock: Clock, outcome: Outcome | None
) -> None:
    await bench.send(REFUSED)
    clock.move(seconds=60)
    await bench.send(outcome)
    assert [pause and pause.faults for pause in bench.told] == [1]
    await bench.send(REFUSED)
    assert [pause and pause.faults for pause in bench.told] == [1, 2]


@pytest.mark.parametrize(
    "outcome",
    [
        Rejected("reply", "21211"),
        Unknown("reply", "cut"),
        Rejected("rcpt", "550 5.1.1 who?"),
        Rejected("dot", "554 5.7.1 spam"),
        Unknown("dot", "cut"),
    ],
)
async def test_any_answer_to_the_message_itself_ends_the_pause(
    bench: Bench, clock: Clock, outcome: Outcome
) -> None:
    await bench.send(REFUSED)
    clock.move(seconds=60)
    await bench.send(outcome)
    assert bench.told[-1] is None


async def test_a_first_success_is_told_once_for_what_an_earlier_process_left(bench: Bench) -> None:
    await bench.send(Delivered("SM1"))
    await bench.send(Delivered("SM2"))
    assert bench.told == [None]


async def test_delivery_goes_on_when_nobody_can_be_told(clock: Clock) -> None:
    def away(_: AccountPause | None) -> None:
        raise LogUnavailable("the database is away")

    channel = Answering()
    channel.outcomes = [REFUSED]
    assert await Account(channel, clock, away).deliver(MESSAGE, Probe()) == REFUSED


async def test_a_replaced_account_closes_after_what_is_under_way(bench: Bench) -> None:
    bench.channel.gate.clear()
    sending = asyncio.create_task(bench.send(Delivered("SM1")))
    await until(lambda: bench.channel.asked == 1)
    await bench.account.retire()
    assert bench.channel.closed == 0
    bench.channel.gate.set()
    assert isinstance(await sending, Delivered)
    assert bench.channel.closed == 1
    late = await bench.send()
    assert isinstance(late, Deferred)
    assert late.account_fault
