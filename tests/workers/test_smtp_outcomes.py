"""The SMTP outcome table, a server that misbehaves for each of its cells, with and without pipelining."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

import msgspec
import pytest
import trustme

from notification_domain.outcomes import Deferred, Delivered, Rejected, Unknown
from tests.workers.misbehaving_smtp import Act, Script, misbehaving_smtp
from tests.workers.smtp_cells import (
    ENDLESS,
    GARBAGE,
    MAIL,
    PIPELINED,
    STEPWISE,
    Cell,
    Probe,
    assert_cell,
    settings,
)
from workers.channels.smtp import SmtpChannel

BEFORE_THE_ENVELOPE = [
    Cell("banner", ["drop"], Deferred),
    Cell("banner", ["hang"], Deferred),
    Cell("banner", [GARBAGE], Deferred),
    Cell("banner", [ENDLESS, "hang"], Deferred),
    Cell("banner", [b"220-mail.test\r\n", "drop"], Deferred),
    Cell("banner", [b"421 4.3.2 full\r\n", "drop"], Deferred),
    Cell("banner", [b"450 4.3.2 later\r\n"], Deferred),
    Cell("banner", [b"554 5.7.1 go away\r\n"], Deferred, fault=True),
    Cell("ehlo", ["drop"], Deferred),
    Cell("ehlo", ["hang"], Deferred),
    Cell("ehlo", [GARBAGE], Deferred),
    Cell("ehlo", [b"250-mail.test\r\n", "drop"], Deferred),
    Cell("ehlo", [b"421 4.3.2 later\r\n", "drop"], Deferred),
    Cell("ehlo", [b"451 4.3.0 later\r\n"], Deferred),
    Cell("auth", ["drop"], Deferred),
    Cell("auth", ["hang"], Deferred),
    Cell("auth", [GARBAGE], Deferred),
    Cell("auth", [b"334 more\r\n"], Deferred),
    Cell("auth", [b"421 4.3.2 later\r\n", "drop"], Deferred),
    Cell("auth", [b"454 4.7.0 later\r\n"], Deferred),
    Cell("auth", [b"530 5.7.0 first TLS\r\n"], Deferred, fault=True),
    Cell("auth", [b"535 5.7.8 who?\r\n"], Deferred, fault=True),
]
IN_THE_ENVELOPE = [
    Cell("mail", ["drop"], Deferred),
    Cell("mail", ["hang"], Deferred),
    Cell("mail", [GARBAGE], Deferred),
    Cell("mail", [ENDLESS, "hang"], Deferred),
    Cell("mail", [b"354 what\r\n"], Deferred),
    Cell("mail", [b"421 4.3.2 later\r\n", "drop"], Deferred),
    Cell("mail", [b"451 4.3.0 later\r\n"], Deferred),
    Cell("mail", [b"530 5.7.0 log in\r\n"], Deferred, fault=True),
    Cell("mail", [b"550 5.7.1 not you\r\n"], Rejected),
    Cell("mail", [b"552 5.3.4 too big\r\n"], Rejected),
    Cell("rcpt", ["drop"], Deferred),
    Cell("rcpt", ["hang"], Deferred),
    Cell("rcpt", [GARBAGE], Deferred),
    Cell("rcpt", [b"250-fine\r\n", "drop"], Deferred),
    Cell("rcpt", [b"421 4.3.2 later\r\n", "drop"], Deferred),
    Cell("rcpt", [b"450 4.2.1 greylisted\r\n"], Deferred),
    Cell("rcpt", [b"452-4.2.2 mailbox\r\n452 4.2.2 full\r\n"], Deferred),
    Cell("rcpt", [b"530 5.7.0 log in\r\n"], Deferred, fault=True),
    Cell("rcpt", [b"550 no\r\n"], Rejected),
    Cell("rcpt", [b"550 5.1.1 who?\r\n"], Rejected, suppress=True),
    Cell("rcpt", [b"556 5.1.10 null MX\r\n"], Rejected, suppress=True),
    Cell("rcpt", [b"550 5.1.8 bad sender domain\r\n"], Rejected),
    Cell("rcpt", [b"550 5.7.1 policy\r\n"], Rejected),
    Cell("data", ["drop"], Deferred),
    Cell("data", ["hang"], Deferred),
    Cell("data", [GARBAGE], Deferred),
    Cell("data", [b"250 2.0.0 queued already\r\n"], Deferred),
    Cell("data", [b"421 4.3.2 later\r\n", "drop"], Deferred),
    Cell("data", [b"451 4.3.0 later\r\n"], Deferred),
    Cell("data", [b"530 5.7.0 log in\r\n"], Deferred, fault=True),
    Cell("data", [b"554 5.5.1 no\r\n"], Rejected),
]
AFTER_THE_DOT = [
    Cell("dot", [b"250 2.0.0 queued\r\n"], Delivered),
    Cell("dot", [b"250 2.0.0 queued\r\n", "drop"], Delivered),
    Cell("dot", [b"250-2.0.0 queued\r\n", b"250 2.0.0 as 7\r\n"], Delivered),
    Cell("dot", [b"421 4.3.2 later\r\n", "drop"], Deferred),
    Cell("dot", [b"451 4.3.0 later\r\n"], Deferred),
    Cell("dot", [b"530 5.7.0 log in\r\n"], Deferred, fault=True),
    Cell("dot", [b"550 5.7.1 spam\r\n"], Rejected),
    Cell("dot", [b"554 5.1.1 who?\r\n"], Rejected),
    Cell("dot", ["drop"], Unknown),
    Cell("dot", ["hang"], Unknown),
    Cell("dot", [GARBAGE], Unknown),
    Cell("dot", [b"250 2.0.0 queu", "drop"], Unknown),
    Cell("dot", [b"250-2.0.0 queued\r\n", "drop"], Unknown),
    Cell("dot", [b"250-2.0.0 queued\r\n", "hang"], Unknown),
    Cell("dot", [ENDLESS, "hang"], Unknown),
    Cell("dot", [b"354 go on\r\n"], Unknown),
    Cell("dot", [b"221 2.0.0 bye\r\n", "drop"], Unknown),
    Cell("quit", ["drop"], Delivered),
    Cell("quit", ["hang"], Delivered),
    Cell("quit", [b"554 5.0.0 never\r\n"], Delivered),
]


@pytest.mark.parametrize("extensions", [PIPELINED, STEPWISE], ids=["pipelined", "stepwise"])
@pytest.mark.parametrize("cell", BEFORE_THE_ENVELOPE + IN_THE_ENVELOPE + AFTER_THE_DOT, ids=str)
@pytest.mark.parity("S1.e", "S1.f")
async def test_outcome_follows_the_table_when_the_server_misbehaves(
    cell: Cell, extensions: Sequence[str]
) -> None:
    begin = Probe()
    async with misbehaving_smtp(Script({cell.stage: cell.acts}, extensions)) as server:
        channel = SmtpChannel(settings(server, cell.acts, user="ada", password="x"), provider="p")
        outcome = await channel.deliver(MAIL, begin)
        await channel.close()
        await server.everyone_left()
    assert_cell(outcome, cell)
    transmitted = cell in AFTER_THE_DOT
    assert begin.asked == transmitted
    assert len(server.bodies) == transmitted


@pytest.mark.parametrize("extensions", [PIPELINED, STEPWISE], ids=["pipelined", "stepwise"])
@pytest.mark.parametrize(
    "cell",
    [cell for cell in IN_THE_ENVELOPE + AFTER_THE_DOT if cell.outcome in {Deferred, Rejected}],
    ids=str,
)
async def test_next_mail_goes_out_when_the_last_one_was_refused(
    cell: Cell, extensions: Sequence[str]
) -> None:
    """The faults are of the first mail of a connection, so the connection must serve, or be replaced."""
    reused = isinstance(cell.acts[0], bytes) and cell.acts[0][:1] in {b"4", b"5"} and "drop" not in cell.acts
    script = Script({"mail": [b"250 fine\r\n"], cell.stage: cell.acts}, extensions)
    honest = Script({}, extensions)
    async with misbehaving_smtp(script) as server:
        channel = SmtpChannel(settings(server, cell.acts, user="ada", password="x"), provider="p")
        assert_cell(await channel.deliver(MAIL, Probe()), cell)
        server.script = honest
        assert isinstance(await channel.deliver(MAIL, Probe()), Delivered)
        assert server.connections == (1 if reused else 2)
        assert server.bodies[-1].endswith(b"Your code is 7.\r\n.\r\n")
        await channel.close()


@pytest.mark.parametrize("tls", ["none", "starttls"])
@pytest.mark.parametrize("act", ["drop", "hang"])
async def test_mail_is_deferred_when_the_body_cannot_be_written_to_the_end(act: Act, tls: str) -> None:
    content = MAIL.content + b"x" * 70 + (b"\r\n" + b"x" * 70) * 400_000 + b"\r\n"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    script = Script({"body": [act]}, ("STARTTLS",), context, receive_buffer=4096)
    begin = Probe()
    async with misbehaving_smtp(script) as server:
        channel = SmtpChannel(settings(server, command_timeout=1.0, tls=tls, verify=False), provider="p")
        outcome = await channel.deliver(msgspec.structs.replace(MAIL, content=content), begin)
        assert_cell(outcome, Cell("body", [act], Deferred))
        assert begin.asked == 1
        assert server.bodies == []
        await channel.close()


async def test_mail_is_deferred_when_the_server_hangs_up_while_we_record_the_intent() -> None:
    async def begin() -> bool:
        await server.everyone_left()
        for _ in range(5):  # turns of the loop, in which our own end hears of it
            await asyncio.sleep(0)
        return True

    async with misbehaving_smtp(Script({"body": ["drop"]})) as server:
        channel = SmtpChannel(settings(server), provider="p")
        assert_cell(await channel.deliver(MAIL, begin), Cell("body", ["drop"], Deferred))
        await channel.close()


async def test_mail_is_deferred_when_the_server_answers_before_it_has_the_body() -> None:
    acts: Sequence[Act] = [b"354 go on\r\n250 2.0.0 queued\r\n"]
    async with misbehaving_smtp(Script({"data": acts})) as server:
        channel = SmtpChannel(settings(server), provider="p")
        assert_cell(await channel.deliver(MAIL, Probe()), Cell("data", acts, Deferred, at="body"))
        await channel.close()
        await server.everyone_left()
        assert server.bodies == []
        assert server.unfinished == [b""]


async def test_server_is_greeted_the_old_way_when_it_does_not_know_ehlo() -> None:
    async with misbehaving_smtp(Script({"ehlo": [b"502 5.5.1 what?\r\n"]})) as server:
        channel = SmtpChannel(settings(server), provider="p")
        assert isinstance(await channel.deliver(MAIL, Probe()), Delivered)
        await channel.close()
    assert server.commands[:2] == ["EHLO localhost", "HELO localhost"]


@pytest.mark.parametrize("helo", [[b"554 5.7.1 no\r\n"], [b"451 4.3.0 later\r\n"]], ids=["5xx", "4xx"])
async def test_account_is_at_fault_when_neither_greeting_is_taken_for_good(helo: Sequence[Act]) -> None:
    async with misbehaving_smtp(Script({"ehlo": [b"502 5.5.1 what?\r\n"], "helo": helo})) as server:
        channel = SmtpChannel(settings(server), provider="p")
        outcome = await channel.deliver(MAIL, Probe())
        assert_cell(outcome, Cell("ehlo", helo, Deferred, fault=helo[0] == b"554 5.7.1 no\r\n"))
        await channel.close()


async def test_envelope_is_dropped_when_the_recipient_is_refused_but_data_is_taken() -> None:
    """RFC 2920: a server may answer 354 although no recipient stands; nothing may follow."""
    acts: dict[str, Sequence[Act]] = {"rcpt": [b"550 5.1.1 who?\r\n"], "data": [b"354 go on\r\n"]}
    async with misbehaving_smtp(Script(acts, PIPELINED)) as server:
        channel = SmtpChannel(settings(server), provider="p")
        outcome = await channel.deliver(MAIL, Probe())
        await server.everyone_left()
        assert_cell(outcome, Cell("rcpt", [], Rejected, suppress=True))
        assert server.bodies == []
        assert server.unfinished == [b""]
        await channel.close()


async def test_reply_is_kept_with_both_codes_and_without_controls() -> None:
    acts: Sequence[Act] = [b"550-5.1.1 no \x1b[31msuch\r\n", b"550 5.1.1 user" + b"!" * 1000 + b"\r\n"]
    async with misbehaving_smtp(Script({"rcpt": acts})) as server:
        channel = SmtpChannel(settings(server), provider="p")
        outcome = await channel.deliver(MAIL, Probe())
        await channel.close()
    assert isinstance(outcome, Rejected)
    assert outcome.error.startswith("550 5.1.1 no [31msuch 5.1.1 user!!!")
    assert len(outcome.error) == 500


async def test_reply_names_the_queue_when_delivered() -> None:
    async with misbehaving_smtp() as server:
        channel = SmtpChannel(settings(server), provider="p")
        assert await channel.deliver(MAIL, Probe()) == Delivered(reply="250 2.0.0 queued as 7")
        await channel.close()
