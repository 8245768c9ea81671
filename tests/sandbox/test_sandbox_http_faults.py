from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.sandbox.sandbox_clients import Web

ACCESS = {"Authorization": aiohttp.encode_basic_auth("AC0", "token")}
DELAY = 0.2
CASES = [
    (channel, stage) for channel in ("sms", "webhook") for stage in ("request", "reply")
]  # fmt: skip


async def deliver(web: Web, channel: str) -> aiohttp.ClientResponse:
    if channel == "sms":
        form = {"To": "+41791234567", "From": "Tidings", "Body": "Hello"}
        answer = await web.session.post("/2010-04-01/Accounts/AC0/Messages.json", data=form, headers=ACCESS)
    else:
        answer = await web.session.post(
            "/webhook/orders", data=b'{"hello": true}', headers={"webhook-id": "1"}
        )
    await answer.read()
    return answer


def taken(stage: str) -> int:
    """What fails at the reply was written down before."""
    return 1 if stage == "reply" else 0


@pytest.mark.parametrize(("channel", "stage"), CASES)
async def test_the_status_is_the_answer_when_a_stage_refuses(web: Web, channel: str, stage: str) -> None:
    await web.set_fault(channel, stage, "refuse", code=429, retry_after=7)
    answer = await deliver(web, channel)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
    assert len(await web.messages()) == taken(stage)


@pytest.mark.parametrize(("channel", "stage"), CASES)
async def test_the_line_goes_dead_when_an_http_stage_disconnects(web: Web, channel: str, stage: str) -> None:
    await web.set_fault(channel, stage, "disconnect")
    with pytest.raises(aiohttp.ClientError):
        await deliver(web, channel)
    assert len(await web.messages()) == taken(stage)


@pytest.mark.parametrize(("channel", "stage"), CASES)
async def test_the_message_is_lost_when_a_stage_fails_that_was_told_not_to_accept(
    web: Web, channel: str, stage: str
) -> None:
    await web.set_fault(channel, stage, "disconnect", accepted=False)
    with pytest.raises(aiohttp.ClientError):
        await deliver(web, channel)
    assert await web.messages() == []


@pytest.mark.parametrize(("channel", "stage"), CASES)
async def test_the_answer_comes_late_when_an_http_stage_delays(web: Web, channel: str, stage: str) -> None:
    await web.set_fault(channel, stage, "delay", seconds=DELAY)
    began = asyncio.get_running_loop().time()
    assert (await deliver(web, channel)).status in {201, 204}
    assert asyncio.get_running_loop().time() - began >= DELAY * 0.9
    assert len(await web.messages()) == 1


@pytest.mark.parametrize(("channel", "stage"), CASES)
async def test_nothing_is_answered_when_an_http_stage_hangs(web: Web, channel: str, stage: str) -> None:
    await web.set_fault(channel, stage, "hang")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(deliver(web, channel), DELAY)
    assert len(await web.messages()) == taken(stage)


@pytest.mark.parametrize(("channel", "stage"), CASES)
async def test_the_answer_cannot_be_read_when_an_http_stage_answers_garbage(
    web: Web, channel: str, stage: str
) -> None:
    await web.set_fault(channel, stage, "garbage")
    with pytest.raises((aiohttp.ClientError, ValueError)):
        await (await deliver(web, channel)).json()
    assert len(await web.messages()) == taken(stage)


async def test_twilios_code_is_the_answer_when_the_fault_names_one(web: Web) -> None:
    await web.set_fault("sms", "request", "refuse", code=400, error_code=21610, to="+41791234567")
    error: Any = await (await deliver(web, "sms")).json()
    assert (error["code"], error["status"]) == (21610, 400)
    assert (await deliver(web, "sms")).status == 201


async def test_a_call_is_written_down_with_its_headers_when_a_webhook_arrives(web: Web) -> None:
    assert (await deliver(web, "webhook")).status == 204
    (item,) = await web.messages()
    assert (item["channel"], item["to"], item["text"]) == ("webhook", ["/webhook/orders"], '{"hello": true}')
    assert item["headers"]["webhook-id"] == ["1"]
    assert item["subject"] is None
