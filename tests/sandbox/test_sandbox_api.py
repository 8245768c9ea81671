from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.sandbox_clients import Web, web_of
from tidings.sandbox.entries import MailEntry, line_of
from tidings.sandbox.server import sandbox


def ledger_of(directory: Path, count: int) -> None:
    content = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nContent-Type: text/html\r\n\r\n<p>x</p>\r\n"
    entries = (
        MailEntry(f"EM{number}", datetime(2026, 11, 3, 14, number % 60, tzinfo=UTC), "a@example.org",
                  (f"u{number % 7}@example.org",), content)
        for number in range(count)
    )  # fmt: skip
    (directory / "ledger.jsonl").write_bytes(b"".join(map(line_of, entries)))


@pytest.mark.parametrize(
    ("query", "count", "shown"),
    [
        ({}, 250, 100),
        ({"limit": "100000"}, 250, 250),
        ({"limit": "0"}, 250, 0),
        ({"to": "U3@example.org"}, 36, 36),
        ({"channel": "sms"}, 0, 0),
        ({"channel": "email", "limit": "1"}, 250, 1),
        ({"since": "2026-11-03T14:59:00Z"}, 4, 4),
        ({"since": "2026-11-03T15:59:00 01:00"}, 4, 4),
        ({"since": "2026-11-04"}, 0, 0),
    ],
)
async def test_messages_are_narrowed_when_the_query_asks(
    tmp_path: Path, query: dict[str, str], count: int, shown: int
) -> None:
    ledger_of(tmp_path, 250)
    async with sandbox(tmp_path) as address, web_of(address) as web:
        listing = await web.get("/sandbox/messages", params=query)
    assert (listing["count"], len(listing["items"])) == (count, shown)


async def test_items_are_short_when_only_a_summary_is_asked_for(tmp_path: Path) -> None:
    ledger_of(tmp_path, 1)
    async with sandbox(tmp_path) as address, web_of(address) as web:
        (item,) = await web.messages(summary="true")
    assert (item["subject"], item["html"], item["headers"]) == ("Grüße", None, {})


async def test_nothing_is_sent_again_when_nothing_has_arrived(web: Web) -> None:
    async with web.session.get("/sandbox/messages") as first:
        tag = first.headers["ETag"]
    async with web.session.get("/sandbox/messages", headers={"If-None-Match": tag}) as second:
        assert second.status == 304
    async with web.session.get("/sandbox/messages?limit=5", headers={"If-None-Match": tag}) as other:
        assert other.status == 200
    await web.session.post("/webhook/x", data=b"x")
    async with web.session.get("/sandbox/messages", headers={"If-None-Match": tag}) as third:
        assert third.status == 200


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=-1", "?limit"),
        ("limit=100001", "?limit"),
        ("limit=many", "?limit"),
        ("channel=fax", "?channel"),
        ("since=yesterday", "?since"),
        ("summary=perhaps", "?summary"),
        ("recipient=x", "?recipient"),
    ],
)
async def test_the_parameter_is_named_when_it_is_wrong(web: Web, query: str, pointer: str) -> None:
    status, body = await web.call("GET", f"/sandbox/messages?{query}")
    assert (status, body["errors"][0]["pointer"]) == (400, pointer)


FAULT = {"channel": "email", "stage": "rcpt", "action": "refuse"}


@pytest.mark.parametrize(
    ("changes", "pointer", "allowed"),
    [
        ({"channel": "fax"}, "/channel", "webhook"),
        ({"channel": None}, "/channel", "email"),
        ({"stage": "lunch"}, "/stage", "dot"),
        ({"channel": "sms"}, "/stage", "reply"),
        ({"stage": 7}, "/stage", "body"),
        ({"action": "explode"}, "/action", "disconnect"),
        ({"action": None}, "/action", "hang"),
        ({"code": 250}, "/code", None),
        ({"code": "451"}, "/code", None),
        ({"code": True}, "/code", None),
        ({"seconds": -1}, "/seconds", None),
        ({"seconds": "long"}, "/seconds", None),
        ({"count": 0}, "/count", None),
        ({"count": 1.5}, "/count", None),
        ({"to": 5}, "/to", None),
        ({"to": ""}, "/to", None),
        ({"stage": "mail", "to": "b@example.org"}, "/to", "rcpt"),
        ({"accepted": "yes"}, "/accepted", "true"),
        ({"error_code": 1}, "/error_code", None),
        ({"retry_after": -1}, "/retry_after", None),
        ({"colour": "red"}, "/colour", "channel"),
    ],
)
async def test_the_field_is_named_when_a_fault_is_wrong(
    web: Web, changes: dict[str, Any], pointer: str, allowed: str | None
) -> None:
    status, body = await web.call("POST", "/sandbox/faults", json=FAULT | changes)
    (error,) = body["errors"]
    assert (status, body["status"], error["pointer"]) == (400, 400, pointer)
    assert allowed is None or allowed in error["allowed"]
    assert (await web.get("/sandbox/faults"))["items"] == []


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b"[" * 100_000, b'"x"'])
async def test_a_fault_is_refused_when_it_is_no_object(web: Web, body: bytes) -> None:
    status, answer = await web.call("POST", "/sandbox/faults", data=body)
    assert (status, answer["errors"][0]["pointer"]) == (400, "")


async def test_a_fault_is_listed_and_removed_when_asked(web: Web) -> None:
    status, body = await web.call("POST", "/sandbox/faults", json={"channel": "email", "action": "delay"})
    (fault,) = body["items"]
    assert (status, fault["stage"], fault["seconds"], fault["count"]) == (201, "dot", 1.0, 1)
    assert (await web.call("DELETE", f"/sandbox/faults/{fault['id']}"))[0] == 204
    assert (await web.call("DELETE", f"/sandbox/faults/{fault['id']}"))[0] == 404
    assert (await web.get("/sandbox/faults"))["items"] == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/sandbox/messages/none", 404),
        ("GET", "/sandbox/messages/none/raw", 404),
        ("GET", "/nowhere", 404),
        ("PUT", "/sandbox/messages", 405),
        ("GET", "/sandbox/static/secret", 404),
    ],
)
async def test_a_problem_is_answered_when_there_is_nothing(
    web: Web, method: str, path: str, status: int
) -> None:
    async with web.session.request(method, path) as answer:
        assert answer.status == status
        assert answer.content_type == "application/problem+json"
        assert (await answer.json(content_type=None))["status"] == status


async def test_the_source_is_plain_text_when_a_mail_is_asked_for_raw(tmp_path: Path) -> None:
    ledger_of(tmp_path, 1)
    async with (
        sandbox(tmp_path) as address,
        web_of(address) as web,
        web.session.get("/sandbox/messages/EM0/raw") as answer,
    ):
        assert answer.content_type == "text/plain"
        assert (await answer.text()).startswith("Subject: =?utf-8?q?")


@pytest.mark.parametrize("path", ["/sandbox", "/sandbox/"])
async def test_the_page_uses_nothing_from_elsewhere_when_it_is_served(web: Web, path: str) -> None:
    async with web.session.get(path) as answer:
        page = await answer.text()
        assert answer.content_type == "text/html"
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "http://" not in page
    assert "https://" not in page
    for name, kind in (
        ("sandbox.js", "text/javascript"),
        ("sandbox.css", "text/css"),
        ("icon.svg", "image/svg+xml"),
    ):
        assert f"/sandbox/static/{name}" in page
        async with web.session.get(f"/sandbox/static/{name}") as file:
            assert (file.status, file.content_type) == (200, kind)
