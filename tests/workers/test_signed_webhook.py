"""Signed webhooks: the specification's own example, the outcome table, and where they refuse to go."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from tests.workers.misbehaving_http import Act, MisbehavingHttp, answer
from workers.channels.address_guard import networks
from workers.signed_webhook import Receiver, ReceiverSettings, Refusal, headers_for, signature

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
KEY, OLD_KEY = bytes(range(32)), bytes(range(24))
LOOPBACK = networks(["127.0.0.0/8"])


def receiver(url: str, timeout: float = 2.0, own: Sequence[str] = ("127.0.0.0/8",)) -> Receiver:
    return Receiver(ReceiverSettings(url, (KEY, OLD_KEY), networks(own), timeout), lambda: NOW)


def test_it_signs_as_the_specification_shows() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    told = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert told == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_key_signs_so_that_a_receiver_may_change_when_it_likes() -> None:
    told = headers_for((KEY, OLD_KEY), "id", 7, b"body")["webhook-signature"]
    assert told == f"{signature(KEY, 'id', 7, b'body')} {signature(OLD_KEY, 'id', 7, b'body')}"


CELLS: list[tuple[str, Sequence[Act], Refusal | None]] = [
    ("200", [answer(200, b"ok")], None),
    ("204", [answer(204, b"")], None),
    ("200 cut", [answer(200, b"ok", length=100), "drop"], None),
    ("200 endless", [answer(200, b"a" * 200_000, length=10**9)], None),
    ("redirect", [answer(307, b"", Location="http://127.0.0.1:1/")], Refusal("status 307")),
    ("400", [answer(400, b"ada@example.com")], Refusal("status 400")),
    ("410", [answer(410, b"")], Refusal("status 410")),
    ("429", [answer(429, b"", Retry_After="7")], Refusal("status 429", 7.0)),
    ("500", [answer(500, b"")], Refusal("status 500")),
    ("503 with a date", [answer(503, b"", Retry_After="soon")], Refusal("status 503")),
    ("drop", ["drop"], Refusal("ServerDisconnectedError")),
    ("hang", ["hang"], Refusal("TimeoutError")),
    ("drip", [b"HTTP/1.1 200 OK\r\nContent-Le", "hang"], Refusal("TimeoutError")),
    ("garbage", [b"\x00\x01\r\n\r\n", "hang"], Refusal("ClientResponseError")),
    (
        "endless headers",
        [b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 5000, "hang"],
        Refusal("ClientResponseError"),
    ),
]


@pytest.mark.parametrize(("acts", "expected"), [c[1:] for c in CELLS], ids=[c[0] for c in CELLS])
async def test_only_2xx_counts_as_taken(acts: Sequence[Act], expected: Refusal | None) -> None:
    async with MisbehavingHttp(*acts).serving() as server:
        to = receiver(f"http://127.0.0.1:{server.port}/", timeout=0.5)
        told = await to.post("id", b"{}")
        await to.close()
        assert len(server.requests) == 1
    if expected is None or told is None:
        assert told is expected
    else:
        assert told == expected


async def test_nobody_listening_is_a_refusal() -> None:
    to = receiver("http://127.0.0.1:1/")
    told = await to.post("id", b"{}")
    await to.close()
    assert told
    assert told.error.startswith("ClientConnectorError")


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("https://127.0.0.1:8443/", "the endpoint's address 127.0.0.1 is not one that may be called"),
        ("http://a.example/", "the endpoint must be https, on port 443 or 8443"),
        ("https://localhost:8443/", "ClientConnectorDNSError"),
    ],
)
async def test_nothing_is_sent_when_the_address_leads_inside(url: str, error: str) -> None:
    to = receiver(url, own=())
    told = await to.post("id", b"{}")
    await to.close()
    assert told
    assert told.error.startswith(error)


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with MisbehavingHttp(answer(204, b"")).serving() as server:
        to = receiver(f"http://127.0.0.1:{server.port}/")
        assert await to.post("id", b"{}") is None
        await to.close()


def test_settings_print_without_the_keys() -> None:
    shown = repr(ReceiverSettings("https://a.example/", (KEY,)))
    assert shown == "ReceiverSettings(url='https://a.example/')"
