"""The SMTP channel: its contract, its pool of connections, and what it refuses itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest

from notification_domain.outcomes import Deferred, Delivered, Rejected
from tests.workers.channel_contract import ChannelContract, Rig, RigMaker
from tests.workers.misbehaving_smtp import Act, MisbehavingSmtp, Script, misbehaving_smtp
from tests.workers.smtp_cells import GARBAGE, MAIL, PIPELINED, STEPWISE, Probe, deliver_all, settings
from workers.channels.port import TextMessage
from workers.channels.smtp import SmtpChannel
from workers.channels.smtp_settings import SmtpSettings

BEHAVIOURS: dict[str, dict[str, Sequence[Act]]] = {
    "refuses": {"dot": [b"554 5.7.1 no\r\n"]},
    "silent": {"dot": ["hang"]},
}


class SmtpLedger:
    def __init__(self, server: MisbehavingSmtp) -> None:
        self._server = server

    async def everyone_left(self) -> None:
        await self._server.everyone_left()

    def taken(self) -> int:
        return len(self._server.bodies)

    def touched(self) -> int:
        return self.taken() + len([body for body in self._server.unfinished if body])


class TestSmtpChannelContract(ChannelContract):
    @pytest.fixture(params=[PIPELINED, STEPWISE], ids=["pipelined", "stepwise"])
    def rig_maker(self, request: pytest.FixtureRequest) -> RigMaker:
        @contextlib.asynccontextmanager
        async def make(behaviour: str) -> AsyncIterator[Rig]:
            async with misbehaving_smtp(Script(BEHAVIOURS.get(behaviour, {}), request.param)) as server:
                account = settings(
                    server,
                    BEHAVIOURS.get(behaviour, {}).get("dot", ()),
                    port=1 if behaviour == "absent" else server.port,
                )
                channel = SmtpChannel(account, provider="p")
                bad = msgspec.structs.replace(MAIL, recipient="b@y.org SIZE=1")
                yield Rig(channel, SmtpLedger(server), MAIL, bad)
                await channel.close()

        return make


# The pool


@pytest.mark.parity("S1.f")
async def test_connections_are_reused_and_never_more_than_allowed() -> None:
    async with misbehaving_smtp(Script({}, PIPELINED)) as server:
        await deliver_all(settings(server, connections=3), [MAIL] * 60)
        assert len(server.bodies) == 60
        assert server.connections <= 3


async def test_connection_is_replaced_after_its_share_of_messages() -> None:
    async with misbehaving_smtp() as server:
        channel = SmtpChannel(settings(server, max_messages_per_connection=2), provider="p")
        for _ in range(5):
            assert isinstance(await channel.deliver(MAIL, Probe()), Delivered)
        await channel.close()
        assert server.connections == 3
        assert server.commands.count("QUIT") == 3


async def test_connection_is_replaced_when_it_was_idle_for_too_long() -> None:
    async with misbehaving_smtp() as server:
        channel = SmtpChannel(settings(server, idle_timeout=-1), provider="p")
        for _ in range(2):
            assert isinstance(await channel.deliver(MAIL, Probe()), Delivered)
        await channel.close()
        assert server.connections == 2


async def test_connections_that_are_not_needed_grow_old_while_one_serves() -> None:
    async with misbehaving_smtp() as server:
        channel = SmtpChannel(settings(server, idle_timeout=0.2, connections=3), provider="p")
        together = asyncio.Barrier(3)

        async def begin() -> bool:
            await together.wait()
            return True

        await asyncio.gather(*(channel.deliver(MAIL, begin) for _ in range(3)))
        while "QUIT" not in server.commands:
            assert isinstance(await channel.deliver(MAIL, Probe()), Delivered)
        assert server.commands.count("QUIT") == 2
        assert isinstance(await channel.deliver(MAIL, Probe()), Delivered)
        assert server.connections == 3
        await channel.close()


@pytest.mark.parametrize(
    ("stage", "acts"),
    [
        ("idle", ["drop"]),
        ("idle", [b"421 4.4.2 too idle\r\n", "drop"]),
        ("idle", [b"421 4.4.2 too idle\r\n"]),
        ("dot", [b"250 2.0.0 queued\r\n" + GARBAGE]),
        ("second mail", ["drop"]),
        ("second mail", [b"421 4.4.2 too idle\r\n", "drop"]),
    ],
)
@pytest.mark.parametrize("extensions", [PIPELINED, STEPWISE], ids=["pipelined", "stepwise"])
async def test_connection_is_replaced_when_the_server_gave_it_up(
    stage: str, acts: Sequence[Act], extensions: Sequence[str]
) -> None:
    async with misbehaving_smtp(Script({stage: acts}, extensions)) as server:
        channel = SmtpChannel(settings(server), provider="p")
        for _ in range(3):
            begin = Probe()
            assert isinstance(await channel.deliver(MAIL, begin), Delivered)
            assert begin.asked == 1
            if acts[-1] == "drop" and stage == "idle":
                await server.everyone_left()
        await channel.close()
        assert server.connections == 3
        assert len(server.bodies) == 3


async def test_mail_is_deferred_when_the_replacement_is_no_better() -> None:
    async with misbehaving_smtp() as server:
        channel = SmtpChannel(settings(server), provider="p")
        assert isinstance(await channel.deliver(MAIL, Probe()), Delivered)
        server.script = Script({"mail": ["drop"], "second mail": ["drop"]})
        outcome = await channel.deliver(MAIL, Probe())
        assert isinstance(outcome, Deferred)
        assert outcome.stage == "mail"
        assert server.connections == 2
        await channel.close()


async def test_refused_envelope_is_forgotten_before_the_next_mail() -> None:
    async with misbehaving_smtp(Script({"rcpt": [b"550 5.1.1 who?\r\n"]})) as server:
        channel = SmtpChannel(settings(server), provider="p")
        assert isinstance(await channel.deliver(MAIL, Probe()), Rejected)
        server.script = Script()
        assert isinstance(await channel.deliver(MAIL, Probe()), Delivered)
        assert isinstance(await channel.deliver(MAIL, Probe()), Delivered)
        await channel.close()
        assert server.connections == 1
        assert server.commands.count("RSET") == 1


@pytest.mark.parametrize("acts", [["drop"], ["hang"], [GARBAGE], [b"502 5.5.1 what?\r\n"]])
async def test_connection_is_replaced_when_it_cannot_be_reset(acts: Sequence[Act]) -> None:
    async with misbehaving_smtp(Script({"rcpt": [b"550 5.1.1 who?\r\n"]})) as server:
        channel = SmtpChannel(settings(server, acts), provider="p")
        await channel.deliver(MAIL, Probe())
        server.script = Script({"rset": acts})
        assert isinstance(await channel.deliver(MAIL, Probe()), Delivered)
        assert server.connections == 2
        await channel.close()


async def test_connection_in_use_is_dropped_afterwards_when_the_channel_closes_meanwhile() -> None:
    async def close_first() -> bool:
        await channel.close()
        return True

    async with misbehaving_smtp() as server:
        channel = SmtpChannel(settings(server), provider="p")
        assert isinstance(await channel.deliver(MAIL, close_first), Delivered)
        await server.everyone_left()


@pytest.mark.parametrize("stage", ["banner", "ehlo", "mail", "rcpt", "data", "dot", "rset"])
async def test_no_connection_stays_when_a_delivery_is_cancelled(stage: str) -> None:
    async with misbehaving_smtp(
        Script({"rcpt": [b"550 5.1.1 who?\r\n"]} if stage == "rset" else {})
    ) as server:
        account = settings(server, command_timeout=60, data_timeout=60)
        channel = SmtpChannel(account, provider="p")
        if stage == "rset":
            await channel.deliver(MAIL, Probe())
        server.script = Script({stage: ["hang"]})
        delivery = asyncio.create_task(channel.deliver(MAIL, Probe()))
        await server.hanging.wait()
        delivery.cancel()
        with pytest.raises(asyncio.CancelledError):
            await delivery
        await server.everyone_left()
        server.script = Script()
        assert isinstance(await channel.deliver(MAIL, Probe()), Delivered)
        await channel.close()


# What the channel refuses itself


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"recipient": "b@y.org SIZE=1"}, "recipient: "),
        ({"recipient": "b@y.org\r\nDATA"}, "recipient: "),
        ({"sender": '"b"@y.org'}, "sender: "),
        ({"sender": ""}, "sender: "),
        ({"content": b"a\nb\r\n"}, "bare CR or LF"),
        ({"content": b"a\r\n.\n\r\n"}, "bare CR or LF"),
        ({"content": b"a\rb\r\n"}, "bare CR or LF"),
        ({"recipient": "grün@example.org"}, "SMTPUTF8"),
    ],
)
async def test_mail_is_rejected_here_when_it_cannot_be_carried(changes: dict[str, Any], reason: str) -> None:
    async with misbehaving_smtp() as server:
        channel = SmtpChannel(settings(server), provider="p")
        begin = Probe()
        outcome = await channel.deliver(msgspec.structs.replace(MAIL, **changes), begin)
        assert isinstance(outcome, Rejected)
        assert outcome.stage == "local"
        assert reason in outcome.error
        assert begin.asked == 0
        assert isinstance(await channel.deliver(MAIL, Probe()), Delivered)
        assert len([command for command in server.commands if command.startswith("MAIL")]) == 1
        await channel.close()


async def test_text_message_is_rejected_when_it_comes_to_the_wrong_channel() -> None:
    channel = SmtpChannel(SmtpSettings("mail.test", 25), provider="p")
    assert isinstance(await channel.deliver(TextMessage("+41791234567", "hi"), Probe()), Rejected)


@pytest.mark.parity("CHN-2")
@pytest.mark.parametrize(
    ("host", "port"),
    [("127.0.0.1", 1), ("no-such-host.invalid", 25), ("host with spaces", 25), ("a" * 300, 25)],
)
async def test_mail_is_deferred_when_nobody_can_be_reached(host: str, port: int) -> None:
    channel = SmtpChannel(SmtpSettings(host, port, tls="none"), provider="p")
    outcome = await channel.deliver(MAIL, Probe())
    assert isinstance(outcome, Deferred)
    assert outcome.stage == "connect"
    assert not outcome.account_fault


@pytest.mark.parametrize("helo", ["", "a b", "a\r\nQUIT", "münchen"])
async def test_account_is_at_fault_when_its_own_name_is_unusable(helo: str) -> None:
    async with misbehaving_smtp() as server:
        channel = SmtpChannel(settings(server, helo=helo), provider="p")
        outcome = await channel.deliver(MAIL, Probe())
        assert isinstance(outcome, Deferred)
        assert outcome.account_fault == helo.isascii()
        assert server.bodies == []
