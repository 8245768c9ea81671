"""The HTTP provider: its contract, its outcome table, its signature, and where it refuses to go."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import msgspec
import pytest

from notification_domain.outcomes import Deferred, Delivered, Outcome, Rejected, Unknown
from tests.workers.channel_contract import ChannelContract, Rig, RigMaker
from tests.workers.misbehaving_http import Act, MisbehavingHttp, answer
from tests.workers.test_twilio_channel import HttpLedger, Probe
from workers.channels.address_guard import networks
from workers.channels.http_provider import HttpProviderChannel, HttpProviderSettings
from workers.channels.port import Context, Mail, TextMessage

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
CONTEXT = Context("n1.1", "session.otp.sms.challenged", {"Code": "K7XQ2M", "DisplayName": "Ann"})
MESSAGE = TextMessage("+41791234567", "Your code is K7XQ2M: äöü €", CONTEXT)
LOOPBACK = networks(["127.0.0.0/8"])
TAKEN = answer(200, b"ok")


def settings(port: int, **changes: object) -> HttpProviderSettings:
    given = HttpProviderSettings(
        f"http://127.0.0.1:{port}/sms", ("new key", "old key"), "hook", "Own", LOOPBACK, timeout=2
    )
    return msgspec.structs.replace(given, **changes)


@contextlib.asynccontextmanager
async def provider(
    *acts: Act, **changes: object
) -> AsyncIterator[tuple[MisbehavingHttp, HttpProviderChannel]]:
    async with MisbehavingHttp(*acts).serving() as server:
        channel = HttpProviderChannel(settings(server.port, **changes), lambda: NOW)
        yield server, channel
        await channel.close()
        await server.everyone_left()


class TestHttpProviderContract(ChannelContract):
    @pytest.fixture
    def rig_maker(self) -> RigMaker:
        answers: dict[str, Act] = {"refuses": answer(422, b"no"), "silent": "hang"}

        @contextlib.asynccontextmanager
        async def make(behaviour: str) -> AsyncIterator[Rig]:
            async with MisbehavingHttp(answers.get(behaviour, TAKEN)).serving() as server:
                port = 1 if behaviour == "absent" else server.port
                given = settings(port, timeout=0.3 if behaviour == "silent" else 2)
                channel = HttpProviderChannel(given, lambda: NOW)
                yield Rig(channel, HttpLedger(server), MESSAGE, TextMessage("079", "x"))
                await channel.close()

        return make


CELLS: list[tuple[str, Sequence[Act], Outcome]] = [
    ("200", [TAKEN], Delivered("", "200 ok")),
    ("204", [answer(204, b"")], Delivered("", "204")),
    ("200 cut", [answer(200, b"ok", length=100), "drop"], Delivered("", "200 ok")),
    ("200 huge", [answer(200, b"a" * 200_000)], Delivered("", "200 " + "a" * 300)),
    ("drop", ["drop"], Unknown("request", "")),
    ("hang", ["hang"], Unknown("request", "")),
    ("garbage", [b"\x00\x01\r\n\r\n", "hang"], Unknown("request", "")),
    ("half the headers", [b"HTTP/1.1 200 OK\r\nContent-Le", "drop"], Unknown("request", "")),
    ("endless headers", [b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 5000, "hang"], Unknown("request", "")),
    ("redirect", [answer(307, b"", Location="http://127.0.0.1:1/")], Deferred("reply", "307")),
    ("400", [answer(400, b"bad number")], Rejected("reply", "400 bad number")),
    ("410", [answer(410, b"gone")], Rejected("reply", "410 gone")),
    ("401", [answer(401, b"who?")], Deferred("reply", "401 who?", account_fault=True)),
    ("403", [answer(403, b"no")], Deferred("reply", "403 no", account_fault=True)),
    ("408", [answer(408, b"")], Deferred("reply", "408")),
    ("429", [answer(429, b"slow", Retry_After="7")], Deferred("reply", "429 slow", 7.0)),
    ("500", [answer(500, b"oops")], Deferred("reply", "500 oops")),
    ("503", [answer(503, b"", Retry_After="30")], Deferred("reply", "503", 30.0)),
]


@pytest.mark.parity("S5.e")
@pytest.mark.parametrize(("acts", "expected"), [c[1:] for c in CELLS], ids=[c[0] for c in CELLS])
async def test_outcome_follows_the_table(acts: Sequence[Act], expected: Outcome) -> None:
    async with provider(*acts, timeout=0.5) as (server, channel):
        outcome = await channel.deliver(MESSAGE, Probe())
        assert type(outcome) is type(expected)
        if isinstance(expected, Unknown):
            assert isinstance(outcome, Unknown)
            assert outcome.stage == expected.stage
        else:
            assert outcome == expected
        assert len(server.requests) == 1


async def test_the_receiver_gets_what_it_needs_to_write_its_own_text() -> None:
    async with provider(TAKEN) as (server, channel):
        await channel.deliver(MESSAGE, Probe())
    request = server.requests[0]
    assert request.line == "POST /sms HTTP/1.1"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == "n1.1"
    assert json.loads(request.body) == {
        "contextInfo": {
            "eventType": "session.otp.sms.challenged",
            "provider": {"id": "hook", "description": "Own"},
            "recipientPhoneNumber": "+41791234567",
        },
        "templateData": {"text": MESSAGE.body},
        "args": {"code": "K7XQ2M", "displayName": "Ann"},
    }


@pytest.mark.parity("S4.b")
async def test_each_key_signs_so_that_a_receiver_may_change_when_it_likes() -> None:
    async with provider(TAKEN) as (server, channel):
        await channel.deliver(MESSAGE, Probe())
    request = server.requests[0]
    time, *marks = request.headers["zitadel-signature"].split(",")
    assert time == f"t={int(NOW.timestamp())}"
    signed = f"{int(NOW.timestamp())}.".encode() + request.body
    assert marks == [f"v1={hmac.new(key, signed, 'sha256').hexdigest()}" for key in (b"new key", b"old key")]


@pytest.mark.parametrize(
    "endpoint", ["https://127.0.0.1:8443/", "https://localhost:8443/", "http://a.example/"]
)
async def test_the_account_is_at_fault_when_the_endpoint_leads_inside(endpoint: str) -> None:
    channel = HttpProviderChannel(settings(1, endpoint=endpoint, own_networks=()), lambda: NOW)
    outcome = await channel.deliver(MESSAGE, Probe())
    await channel.close()
    assert isinstance(outcome, Deferred)
    assert outcome.account_fault


@pytest.mark.parametrize(
    "message", [Mail("a@b.c", "d@e.f", b""), TextMessage("+41791234567", "", verification=True)]
)
async def test_what_cannot_travel_this_way_is_rejected(message: Mail | TextMessage) -> None:
    async with provider(TAKEN) as (server, channel):
        assert isinstance(await channel.deliver(message, Probe()), Rejected)
        assert server.requests == []


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with provider(TAKEN) as (_, channel):
        assert isinstance(await channel.deliver(MESSAGE, Probe()), Delivered)


async def test_concurrent_messages_keep_to_the_connections_allowed() -> None:
    async with provider(TAKEN, connections=3) as (server, channel):
        await asyncio.gather(*(channel.deliver(MESSAGE, Probe()) for _ in range(12)))
        assert len(server.requests) == 12
        assert server.connections <= 3


def test_settings_print_without_the_keys() -> None:
    assert "key" not in repr(settings(1))
