"""Twilio Verify: the provider makes the code; what its answers mean."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Sequence

import pytest

from notification_domain.outcomes import Deferred, Delivered, Outcome, Rejected, Unknown
from tests.workers.misbehaving_http import Act, MisbehavingHttp, answer
from tests.workers.test_twilio_channel import Probe, account, refusal
from workers.channels.port import TextMessage
from workers.channels.twilio_sms import TwilioChannel

WISH = TextMessage("+41791234567", "", verification=True)
SID = "VE0123456789abcdef0123456789abcdef"
CREATED = answer(201, json.dumps({"sid": SID, "status": "pending"}).encode())


@contextlib.asynccontextmanager
async def verify(*acts: Act, service: str = "VA1") -> AsyncIterator[tuple[MisbehavingHttp, TwilioChannel]]:
    async with MisbehavingHttp(*acts).serving() as server:
        url = f"http://127.0.0.1:{server.port}"
        settings = account("http://127.0.0.1:1", verify_url=url, verify_service_sid=service, timeout=0.5)
        channel = TwilioChannel(settings, provider="p")
        yield server, channel
        await channel.close()
        await server.everyone_left()


async def test_a_verification_is_asked_for_and_its_id_comes_back() -> None:
    async with verify(CREATED) as (server, channel):
        assert await channel.deliver(WISH, Probe()) == Delivered(SID)
    (request,) = server.requests
    assert request.line == "POST /v2/Services/VA1/Verifications HTTP/1.1"
    assert request.form == {"To": "+41791234567", "Channel": "sms"}


CELLS: list[tuple[str, Sequence[Act], Outcome]] = [
    ("60203 too many sends", [refusal(429, 60203)], Rejected("reply", "429 60203")),
    ("60410 blocked", [refusal(403, 60410)], Rejected("reply", "403 60410")),
    ("60200 bad number", [refusal(400, 60200)], Rejected("reply", "400 60200")),
    ("20404 no such service", [refusal(404, 20404)], Rejected("reply", "404 20404")),
    ("20429", [refusal(429, 20429, Retry_After="7")], Deferred("reply", "429 20429", 7.0)),
    ("401", [refusal(401, 20003)], Deferred("reply", "401 20003", account_fault=True)),
    ("503", [refusal(503, 20503)], Deferred("reply", "503 20503")),
    ("drop", ["drop"], Unknown("request", "")),
    ("hang", ["hang"], Unknown("request", "")),
    ("201 cut", [answer(201, b'{"sid": "VE', length=100), "drop"], Unknown("reply", "")),
]


@pytest.mark.parametrize(("acts", "expected"), [c[1:] for c in CELLS], ids=[c[0] for c in CELLS])
@pytest.mark.parity("S1.18")
async def test_outcome_follows_the_table(acts: Sequence[Act], expected: Outcome) -> None:
    async with verify(*acts) as (_, channel):
        outcome = await channel.deliver(WISH, Probe())
    assert type(outcome) is type(expected)
    assert outcome is not None
    if isinstance(expected, Deferred | Rejected):
        assert isinstance(outcome, Deferred | Rejected)
        assert outcome.error.startswith(expected.error)
        assert getattr(outcome, "account_fault", False) == getattr(expected, "account_fault", False)
        assert getattr(outcome, "retry_after", None) == getattr(expected, "retry_after", None)


async def test_the_account_is_at_fault_when_it_has_no_verify_service() -> None:
    async with verify(CREATED, service="") as (server, channel):
        outcome = await channel.deliver(WISH, Probe())
        assert outcome == Deferred("config", "the account has no Verify service", account_fault=True)
        assert server.requests == []
