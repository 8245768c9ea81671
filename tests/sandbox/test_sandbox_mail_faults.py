from __future__ import annotations

import asyncio

import aiosmtplib
import pytest

from tests.sandbox.sandbox_clients import ENVELOPE, MAIL, Talker, Web, talking_to
from tidings.sandbox.server import SandboxAddress

DELAY = 0.2
STAGES = ("connect", "banner", "ehlo", "auth", "mail", "rcpt", "data", "body", "dot")


async def answer_at(stage: str, talker: Talker) -> str:
    """Go on honestly until the stage, and answer with what the server says there."""
    if stage in {"connect", "banner"}:
        return await talker.hear()
    await talker.hear()
    if stage == "auth":
        return await talker.ask(ENVELOPE[0], "AUTH PLAIN AHUAcA==")
    steps = {"ehlo": 1, "mail": 2, "rcpt": 3, "data": 4}
    if stage in steps:
        return await talker.ask(*ENVELOPE[: steps[stage]])
    await talker.ask(*ENVELOPE)
    return await talker.ask(MAIL.encode() + b".\r\n")


@pytest.mark.parametrize("stage", STAGES)
async def test_the_code_is_the_answer_when_a_stage_refuses(
    address: SandboxAddress, web: Web, stage: str
) -> None:
    await web.set_fault("email", stage, "refuse", code=421)
    async with talking_to(address) as talker:
        assert (await answer_at(stage, talker)).startswith("421 4.0.0")
    assert await web.messages() == []


@pytest.mark.parametrize("stage", STAGES)
async def test_the_line_goes_dead_when_a_stage_disconnects(
    address: SandboxAddress, web: Web, stage: str
) -> None:
    await web.set_fault("email", stage, "disconnect", accepted=False)
    async with talking_to(address) as talker:
        assert await answer_at(stage, talker) == ""
    assert await web.messages() == []


@pytest.mark.parametrize("stage", STAGES)
async def test_the_answer_is_no_smtp_when_a_stage_answers_garbage(
    address: SandboxAddress, web: Web, stage: str
) -> None:
    await web.set_fault("email", stage, "garbage", accepted=False)
    async with talking_to(address) as talker:
        assert "no such protocol" in await answer_at(stage, talker)
    assert await web.messages() == []


@pytest.mark.parametrize("stage", STAGES)
async def test_the_answer_comes_late_when_a_stage_delays(
    address: SandboxAddress, web: Web, stage: str
) -> None:
    await web.set_fault("email", stage, "delay", seconds=DELAY)
    began = asyncio.get_running_loop().time()
    async with talking_to(address) as talker:
        assert (await answer_at(stage, talker))[0] in "23"
    assert asyncio.get_running_loop().time() - began >= DELAY * 0.9


@pytest.mark.parametrize("stage", STAGES)
async def test_silence_ends_with_the_connection_when_a_stage_hangs(
    address: SandboxAddress, web: Web, stage: str
) -> None:
    await web.set_fault("email", stage, "hang", seconds=DELAY, accepted=False)
    began = asyncio.get_running_loop().time()
    async with talking_to(address) as talker:
        assert await answer_at(stage, talker) == ""
    assert asyncio.get_running_loop().time() - began >= DELAY * 0.9
    assert await web.messages() == []


async def test_the_sandbox_stops_when_a_client_is_hanging(address: SandboxAddress, web: Web) -> None:
    await web.set_fault("email", "banner", "hang")
    async with talking_to(address) as talker:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(talker.hear(), 0.05)


@pytest.mark.parametrize("action", ["disconnect", "hang", "garbage"])
async def test_the_mail_is_taken_when_only_the_answer_to_the_dot_is_lost(
    address: SandboxAddress, web: Web, action: str
) -> None:
    await web.set_fault("email", "dot", action, seconds=0.01)
    async with talking_to(address) as talker:
        assert not (await answer_at("dot", talker)).startswith("250")
    assert len(await web.messages()) == 1


async def test_a_client_library_sees_a_lost_connection_when_the_dot_disconnects(
    address: SandboxAddress, web: Web
) -> None:
    await web.set_fault("email", "dot", "disconnect")
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await aiosmtplib.send(
            MAIL,
            sender="a@example.org",
            recipients=["b@example.org"],
            hostname=address.host,
            port=address.smtp_port,
        )
    assert len(await web.messages()) == 1


async def test_a_large_mail_is_cut_when_the_body_disconnects(address: SandboxAddress, web: Web) -> None:
    await web.set_fault("email", "body", "disconnect")
    async with talking_to(address) as talker:
        await talker.hear()
        assert (await talker.ask(*ENVELOPE)).startswith("354")
        assert await talker.ask(b"x" * 5_000_000) == ""
    assert await web.messages() == []


async def test_a_fault_strikes_as_often_as_it_should_when_it_has_a_count(talker: Talker, web: Web) -> None:
    await web.set_fault("email", "rcpt", "refuse", code=450, count=2)
    await talker.hear()
    await talker.ask(*ENVELOPE[:2])
    answers = [(await talker.ask(ENVELOPE[2]))[:3] for _ in range(3)]
    assert answers == ["450", "450", "250"]
    assert (await web.get("/sandbox/faults"))["items"] == []


@pytest.mark.parametrize("count", [None, -1])
async def test_a_fault_stays_until_cleared_when_it_has_no_count(
    talker: Talker, web: Web, count: int | None
) -> None:
    await web.set_fault("email", "rcpt", "refuse", code=550, count=count)
    await talker.hear()
    await talker.ask(*ENVELOPE[:2])
    assert [(await talker.ask(ENVELOPE[2]))[:3] for _ in range(3)] == ["550"] * 3
    assert (await web.call("DELETE", "/sandbox/faults"))[0] == 204
    assert (await talker.ask(ENVELOPE[2]))[:3] == "250"


async def test_only_one_recipient_is_refused_when_the_fault_names_one(talker: Talker, web: Web) -> None:
    await web.set_fault("email", "rcpt", "refuse", code=550, to="C@example.org", count=None)
    await talker.hear()
    await talker.ask(*ENVELOPE[:2])
    assert (await talker.ask("RCPT TO:<b@example.org>"))[:3] == "250"
    assert (await talker.ask("RCPT TO:<c@example.org>"))[:3] == "550"
    assert (await talker.ask("DATA", MAIL.encode() + b".\r\n"))[:3] == "250"
    assert [item["to"] for item in await web.messages()] == [["b@example.org"]]
