"""The Twilio channel: its contract and its outcome table, against a server that misbehaves for each cell."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest
import trustme

from notification_domain.outcomes import Deferred, Delivered, Outcome, Rejected, Unknown
from tests.workers.channel_contract import ChannelContract, Rig, RigMaker
from tests.workers.misbehaving_http import Act, MisbehavingHttp, answer
from workers.channels.port import Mail, TextMessage
from workers.channels.twilio_sms import TwilioChannel, TwilioSettings

MESSAGE = TextMessage("+41791234567", "Your code is 7 & nothing else: äöü €")
SID = "SM0123456789abcdef0123456789abcdef"
CREATED = answer(201, json.dumps({"sid": SID, "status": "queued"}).encode())


class Probe:
    def __init__(self, *, allows: bool = True) -> None:
        self.asked = 0
        self._allows = allows

    async def __call__(self) -> bool:
        await asyncio.sleep(0)
        self.asked += 1
        return self._allows


def account(base_url: str, **changes: object) -> TwilioSettings:
    quick = TwilioSettings("AC1", "t0ken", "+15005550006", base_url=base_url, timeout=2)
    return msgspec.structs.replace(quick, **changes)


def refusal(status: int, code: object, message: str = "no", **headers: str) -> bytes:
    body = {"code": code, "message": message, "more_info": "https://example.org", "status": status}
    return answer(status, json.dumps(body).encode(), length=None, **headers)


def problem(status: int, code: object) -> bytes:
    """The newer form of a refusal, RFC 9457."""
    body = {"type": "about:blank", "title": "No", "status": status, "code": code, "detail": "because"}
    return answer(status, json.dumps(body).encode())


@contextlib.asynccontextmanager
async def twilio(*acts: Act, **changes: object) -> AsyncIterator[tuple[MisbehavingHttp, TwilioChannel]]:
    async with MisbehavingHttp(*acts).serving() as server:
        channel = TwilioChannel(account(f"http://127.0.0.1:{server.port}", **changes), provider="p")
        yield server, channel
        await channel.close()
        await server.everyone_left()


class HttpLedger:
    def __init__(self, server: MisbehavingHttp) -> None:
        self._server = server

    async def everyone_left(self) -> None:
        await self._server.everyone_left()

    def taken(self) -> int:
        return len(self._server.requests)

    touched = taken


class TestTwilioChannelContract(ChannelContract):
    @pytest.fixture
    def rig_maker(self) -> RigMaker:
        answers: dict[str, Act] = {"refuses": refusal(400, 21211), "silent": "hang"}

        @contextlib.asynccontextmanager
        async def make(behaviour: str) -> AsyncIterator[Rig]:
            async with MisbehavingHttp(answers.get(behaviour, CREATED)).serving() as server:
                port = 1 if behaviour == "absent" else server.port
                settings = account(f"http://127.0.0.1:{port}", timeout=0.3 if behaviour == "silent" else 2)
                channel = TwilioChannel(settings, provider="p")
                bad = msgspec.structs.replace(MESSAGE, recipient="079 123 45 67")
                yield Rig(channel, HttpLedger(server), MESSAGE, bad)
                await channel.close()

        return make


DELIVERED = Delivered(provider_message_id=SID)
CELLS: list[tuple[str, Sequence[Act], Outcome]] = [
    ("sid", [CREATED], DELIVERED),
    ("sid, 200", [answer(200, b'{"sid":"%s"}' % SID.encode())], DELIVERED),
    ("sid, then drop", [CREATED, "drop"], DELIVERED),
    ("drop", ["drop"], Unknown("request", "")),
    ("hang", ["hang"], Unknown("request", "")),
    ("garbage", [b"\x00\x01\x02\r\n\r\n", "hang"], Unknown("request", "")),
    ("half a status line", [b"HTTP/1.1 20", "drop"], Unknown("request", "")),
    ("half the headers", [b"HTTP/1.1 201 Created\r\nContent-Le", "drop"], Unknown("request", "")),
    ("endless headers", [b"HTTP/1.1 201 Created\r\n" + b"X-A: b\r\n" * 5000, "hang"], Unknown("request", "")),
    ("201 cut", [answer(201, b'{"sid": "SM01', length=100), "drop"], Unknown("reply", "")),
    ("201 cut, hang", [answer(201, b'{"sid": "SM01', length=100), "hang"], Unknown("reply", "")),
    ("201 HTML", [answer(201, b"<html>hello</html>")], Unknown("reply", "")),
    ("201 empty", [answer(201, b"")], Unknown("reply", "")),
    ("201 list", [answer(201, b"[]")], Unknown("reply", "")),
    ("201 null", [answer(201, b"null")], Unknown("reply", "")),
    ("201 without sid", [answer(201, b"{}")], Unknown("reply", "")),
    ("201 sid is a number", [answer(201, b'{"sid":7}')], Unknown("reply", "")),
    ("201 sid is poison", [answer(201, b'{"sid":"a\\u0000\\ud800"}')], Unknown("reply", "")),
    ("201 not UTF-8", [answer(201, b"\xff\xfe")], Unknown("reply", "")),
    ("201 huge", [answer(201, b'{"sid":"' + b"a" * 200_000 + b'"}')], Unknown("reply", "")),
    ("201 bad compression", [answer(201, b"nonsense", Content_Encoding="gzip")], Unknown("reply", "")),
    ("301", [answer(301, b"", Location="http://127.0.0.1:1/")], Deferred("reply", "301")),
    ("307", [answer(307, b"", Location="http://127.0.0.1:1/")], Deferred("reply", "307")),
    ("429", [answer(429, b"slow down")], Deferred("reply", "429")),
    ("429 seconds", [refusal(429, 20429, Retry_After="7")], Deferred("reply", "429 20429", 7.0)),
    (
        "429 date",
        [
            refusal(
                429,
                20429,
                Date="Wed, 18 Nov 2026 08:00:00 GMT",
                Retry_After="Wed, 18 Nov 2026 08:01:30 GMT",
            )
        ],
        Deferred("reply", "429 20429", 90.0),
    ),
    ("429 nonsense", [refusal(429, 20429, Retry_After="soon")], Deferred("reply", "429 20429")),
    ("429 negative", [refusal(429, 20429, Retry_After="-7")], Deferred("reply", "429 20429")),
    ("429 not a number", [refusal(429, 20429, Retry_After="nan")], Deferred("reply", "429 20429")),
    ("20429 wins", [refusal(400, 20429, Retry_After="3")], Deferred("reply", "400 20429", 3.0)),
    ("408", [answer(408, b"")], Deferred("reply", "408")),
    ("500", [answer(500, b"<html>oops</html>")], Deferred("reply", "500")),
    ("503 later", [refusal(503, 20503, Retry_After="30")], Deferred("reply", "503 20503", 30.0)),
    ("503 cut", [answer(503, b"{", length=9), "drop"], Deferred("reply", "503")),
    ("503 cut, hang", [answer(503, b"{", length=9), "hang"], Deferred("reply", "503")),
    ("401", [refusal(401, 20003)], Deferred("reply", "401 20003", account_fault=True)),
    ("403", [answer(403, b"")], Deferred("reply", "403", account_fault=True)),
    ("401 problem", [problem(401, 20003)], Deferred("reply", "401 20003 No", account_fault=True)),
    ("21609", [refusal(400, 21609)], Deferred("reply", "400 21609", account_fault=True)),
    ("21211", [refusal(400, 21211)], Rejected("reply", "400 21211")),
    ("21211 problem", [problem(400, 21211)], Rejected("reply", "400 21211 No: because")),
    ("21408", [refusal(403, 21408)], Rejected("reply", "403 21408")),
    ("21610", [refusal(400, 21610)], Rejected("reply", "400 21610", suppress=True)),
    ("21610 wins", [refusal(403, 21610)], Rejected("reply", "403 21610", suppress=True)),
    ("21614", [refusal(400, 21614)], Rejected("reply", "400 21614")),
    ("unknown code", [refusal(400, 29999)], Rejected("reply", "400 29999")),
    ("code is text", [refusal(400, "21610")], Rejected("reply", "400 21610")),
    ("404", [answer(404, b"not here")], Rejected("reply", "404")),
]


@pytest.mark.parametrize(("acts", "expected"), [cell[1:] for cell in CELLS], ids=[cell[0] for cell in CELLS])
async def test_outcome_follows_the_table_when_the_answer_is(acts: Sequence[Act], expected: Outcome) -> None:
    timeout = 0.3 if "hang" in acts else 5
    begin = Probe()
    async with twilio(*acts, timeout=timeout) as (server, channel):
        outcome = await channel.deliver(MESSAGE, begin)
        assert len(server.requests) == 1
    assert begin.asked == 1
    if not isinstance(expected, Delivered):
        assert not isinstance(outcome, Delivered | None)
        assert outcome.error.startswith(expected.error)
        assert outcome.error
        assert len(outcome.error) <= 500
        outcome = msgspec.structs.replace(outcome, error=expected.error)
    assert outcome == expected


@pytest.mark.parametrize(("base", "reference"), [("https://tidings.test/twilio/", ""), ("", "r-7")])
async def test_no_callback_is_asked_for_without_an_address_of_this_very_message(
    base: str, reference: str
) -> None:
    async with twilio(CREATED, status_callback=base) as (server, channel):
        await channel.deliver(msgspec.structs.replace(MESSAGE, reference=reference), Probe())
    assert "StatusCallback" not in server.requests[0].form


async def test_request_carries_the_message_the_sender_and_the_credentials() -> None:
    async with twilio(CREATED, status_callback="https://tidings.test/twilio/") as (server, channel):
        await channel.deliver(msgspec.structs.replace(MESSAGE, reference="7"), Probe())
    (request,) = server.requests
    assert request.line == "POST /2010-04-01/Accounts/AC1/Messages.json HTTP/1.1"
    assert request.headers["authorization"] == "Basic " + base64.b64encode(b"AC1:t0ken").decode()
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.form == {
        "To": MESSAGE.recipient,
        "From": "+15005550006",
        "Body": MESSAGE.body,
        "StatusCallback": "https://tidings.test/twilio/7",
    }


async def test_request_names_the_messaging_service_when_there_is_no_number() -> None:
    async with twilio(CREATED, sender_number="", messaging_service_sid="MG1") as (server, channel):
        await channel.deliver(MESSAGE, Probe())
    assert server.requests[0].form["MessagingServiceSid"] == "MG1"
    assert "From" not in server.requests[0].form


async def test_request_goes_below_the_base_url_when_that_has_a_path() -> None:
    async with MisbehavingHttp(CREATED).serving() as server:
        channel = TwilioChannel(account(f"http://127.0.0.1:{server.port}/sandbox/"), provider="p")
        assert await channel.deliver(MESSAGE, Probe()) == DELIVERED
        await channel.close()
    assert server.requests[0].line.split()[1] == "/sandbox/2010-04-01/Accounts/AC1/Messages.json"


async def test_environment_of_the_process_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TWILIO_EDGE", "TWILIO_REGION", "http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with twilio(CREATED) as (_, channel):
        assert await channel.deliver(MESSAGE, Probe()) == DELIVERED


async def test_outcome_is_unknown_when_a_reused_connection_breaks() -> None:
    """The library must not write the request a second time either."""
    async with twilio(CREATED) as (server, channel):
        assert await channel.deliver(MESSAGE, Probe()) == DELIVERED
        server.acts = ["drop"]
        assert isinstance(await channel.deliver(MESSAGE, Probe()), Unknown)
        assert server.connections == 1
        assert len(server.requests) == 2


@pytest.mark.parametrize("handshake", ["untrusted", "never answered"])
async def test_message_is_deferred_when_tls_fails(handshake: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("other.test").configure_cert(context)
    async with MisbehavingHttp().serving(context if handshake == "untrusted" else None) as server:
        channel = TwilioChannel(account(f"https://127.0.0.1:{server.port}", timeout=0.3), provider="p")
        outcome = await channel.deliver(MESSAGE, Probe())
        await channel.close()
    assert isinstance(outcome, Deferred)
    assert outcome.stage == "connect"


@pytest.mark.parametrize("base_url", ["http://no-such-host.invalid", "not a url", "ftp://127.0.0.1"])
async def test_message_is_deferred_when_the_host_cannot_be_found(base_url: str) -> None:
    channel = TwilioChannel(account(base_url), provider="p")
    outcome = await channel.deliver(MESSAGE, Probe())
    await channel.close()
    assert isinstance(outcome, Deferred)
    assert outcome.stage == "connect"


@pytest.mark.parametrize(
    "recipient",
    [
        "",
        "+",
        "41791234567",
        "+0791234567",
        "+4179 1234567",
        "+41791234567x",
        "+41791234567\n",
        "+" + "1" * 16,
        "+١٢٣٤٥٦٧٨",
    ],
)
async def test_message_is_rejected_here_when_the_number_is_not_e164(recipient: str) -> None:
    async with twilio(CREATED) as (server, channel):
        begin = Probe()
        outcome = await channel.deliver(TextMessage(recipient, "hi"), begin)
        assert isinstance(outcome, Rejected)
        assert outcome.stage == "local"
        assert (begin.asked, server.requests) == (0, [])


async def test_mail_is_rejected_when_it_comes_to_the_wrong_channel() -> None:
    async with twilio(CREATED) as (_, channel):
        assert isinstance(await channel.deliver(Mail("a@b.c", "d@e.f", b""), Probe()), Rejected)


@pytest.mark.parametrize("missing", [{"account_sid": ""}, {"auth_token": ""}, {"sender_number": ""}])
async def test_account_is_at_fault_when_it_is_incomplete(missing: dict[str, str]) -> None:
    async with twilio(CREATED, **missing) as (server, channel):
        begin = Probe()
        outcome = await channel.deliver(MESSAGE, begin)
        assert isinstance(outcome, Deferred)
        assert (outcome.stage, outcome.account_fault) == ("config", True)
        assert (begin.asked, server.requests) == (0, [])


async def test_concurrent_messages_do_not_mix_their_answers() -> None:
    async with twilio(refusal(429, 20429, Retry_After="7")) as (server, channel):
        outcomes = await asyncio.gather(*(channel.deliver(MESSAGE, Probe()) for _ in range(20)))
        assert {getattr(outcome, "retry_after", None) for outcome in outcomes} == {7.0}
        assert len(server.requests) == 20


async def test_log_holds_no_header_and_no_number(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with twilio(CREATED) as (_, channel):
        await channel.deliver(MESSAGE, Probe())
    assert MESSAGE.recipient not in caplog.text
    assert "uthorization" not in caplog.text
    assert logging.getLogger("twilio.async_http_client").getEffectiveLevel() == logging.WARNING


def test_settings_print_without_the_token() -> None:
    assert "t0ken" not in repr(account("http://127.0.0.1"))
