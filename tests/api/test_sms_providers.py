"""SMS providers over REST: set up, changed, activated, and never telling a secret."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from event_log import secret_store
from event_log.log import Log
from event_log.provider_commands import overview
from event_log.provider_settings import AccountPause, pause_account
from notification_domain.providers import Http, Twilio
from tests.conftest import Clock

PATH = "/v1/providers/sms"
TWILIO = {"kind": "twilio", "id": "main", "sid": "AC1", "token": "sesame", "sender_number": "+41790000001"}
HTTP = {"kind": "http", "id": "hook", "endpoint": "https://sms.example/send"}


async def ask(
    client: httpx2.AsyncClient, method: str, path: str = "", body: object = None
) -> httpx2.Response:
    return await client.request(method, PATH + path, json=body)


async def done(client: httpx2.AsyncClient, method: str, path: str = "", body: object = None) -> Any:
    answer = await ask(client, method, path, body)
    assert answer.is_success, answer.text
    assert "sesame" not in answer.text
    return answer.json()


def revealed(log: Log, reference: str) -> str:
    with log.database.connection() as connection:
        return secret_store.reveal(connection.cursor(), log.secret_seal, [reference])[reference]


@pytest.mark.parity("S4.7")
async def test_one_is_active_after_another_was_activated(client: httpx2.AsyncClient) -> None:
    assert (await done(client, "GET")) == {"items": [], "unreadable": None}
    await done(client, "POST", "", TWILIO)
    await done(client, "POST", "", HTTP)
    assert (await done(client, "POST", "/main/activate"))["provider"]["active"]
    assert (await done(client, "POST", "/main/activate"))["provider"]["active"]
    await done(client, "POST", "/hook/activate")
    items = (await done(client, "GET"))["items"]
    assert [(item["id"], item["kind"], item["active"]) for item in items] == [
        ("main", "twilio", False),
        ("hook", "http", True),
    ]
    assert not (await done(client, "POST", "/hook/deactivate"))["provider"]["active"]
    assert [item["id"] for item in (await done(client, "DELETE", "/hook"))["items"]] == ["main"]


async def test_a_provider_is_shown_without_its_token(client: httpx2.AsyncClient, log: Log) -> None:
    added = await done(client, "POST", "", TWILIO)
    assert added == {
        "provider": {
            "id": "main",
            "kind": "twilio",
            "description": "",
            "active": False,
            "missing": [],
            "settings": {"sid": "AC1", "sender_number": "+41790000001", "verify_service_sid": ""},
            "paused": None,
        },
        "signing_key": None,
    }
    provider = overview(log, "acme").providers.named("main")
    assert provider is not None
    assert isinstance(provider.account, Twilio)
    assert revealed(log, provider.account.token) == "sesame"


async def test_a_signing_key_is_made_and_shown_once(client: httpx2.AsyncClient, log: Log) -> None:
    first = (await done(client, "POST", "", HTTP))["signing_key"]
    assert len(first) == 36
    second = (await done(client, "POST", "/hook/token", {}))["signing_key"]
    assert second != first
    assert first not in str(await done(client, "GET"))
    provider = overview(log, "acme").providers.named("hook")
    assert provider is not None
    assert isinstance(provider.account, Http)
    assert revealed(log, provider.account.signing_key) == second
    assert revealed(log, provider.account.previous_key) == first


async def test_only_what_is_named_changes(client: httpx2.AsyncClient) -> None:
    await done(client, "POST", "", TWILIO)
    changed = await done(client, "PATCH", "/main", {"sender_number": "+41790000002", "description": "Main"})
    assert changed["provider"]["settings"]["sender_number"] == "+41790000002"
    assert changed["provider"]["settings"]["sid"] == "AC1"
    assert changed["provider"]["description"] == "Main"


@pytest.mark.parity("S4.3")
async def test_what_is_missing_is_named_when_it_is_activated(
    client: httpx2.AsyncClient, append: Callable[..., Any]
) -> None:
    event = {
        "specversion": "1.0",
        "source": "auth",
        "id": "1",
        "type": "instance.sms.configtwilio.added",
        "subject": "instance",
        "data": {"id": "old", "description": "Old", "sid": "AC1"},
    }
    assert (await append(event)).status_code == 201
    (item,) = (await done(client, "GET"))["items"]
    assert item["missing"] == ["token", "sender number or Verify service"]
    refused = await ask(client, "POST", "/old/activate")
    assert refused.status_code == 409
    assert refused.json()["type"] == "/problems/provider-incomplete"
    assert refused.json()["missing"] == item["missing"]
    assert (
        refused.json()["detail"]
        == "SMS provider old (Old) has no token and no sender number or Verify service."
    )


async def test_a_paused_account_is_shown_until_it_is_mended(
    client: httpx2.AsyncClient, log: Log, clock: Clock
) -> None:
    await done(client, "POST", "", TWILIO)
    with log.database.connection() as connection:
        pause = AccountPause("main", clock() + timedelta(seconds=15), 1, "401 20003 Authenticate")
        pause_account(connection.cursor(), "acme", pause)
    (item,) = (await done(client, "GET"))["items"]
    assert (item["paused"]["faults"], item["paused"]["error"]) == (1, "401 20003 Authenticate")
    assert (await done(client, "POST", "/main/token", {"token": "sesame2"}))["provider"]["paused"] is None


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/kind"),
        ({"kind": "pigeon"}, "/kind"),
        ({"kind": "twilio", "sender_number": "+41790000001", "token": "t"}, "/sid"),
        ({"kind": "twilio", "sender_number": "+41790000001", "sid": "AC1"}, "/token"),
        ({"kind": "twilio", "sid": "AC1", "token": "t"}, "/sender_number"),
        ({"kind": "http"}, "/endpoint"),
        (HTTP | {"endpoint": "ftp://a"}, "/endpoint"),
        (HTTP | {"sid": "AC1"}, "/sid"),
        (TWILIO | {"id": "a/b"}, "/id"),
        (TWILIO | {"sid": 7}, "/sid"),
        (TWILIO | {"description": "a\nb"}, "/description"),
        (TWILIO | {"description": None}, "/description"),
    ],
)
async def test_a_fault_of_the_body_is_pointed_at(
    client: httpx2.AsyncClient, body: dict[str, Any], pointer: str
) -> None:
    refused = await ask(client, "POST", "", body)
    assert refused.status_code == 422
    assert pointer in [fault["pointer"] for fault in refused.json()["errors"]]
    assert (await done(client, "GET"))["items"] == []


async def test_each_refusal_has_its_status(client: httpx2.AsyncClient) -> None:
    await done(client, "POST", "", TWILIO)
    await done(client, "POST", "", HTTP)
    for method, path, body, status in [
        ("POST", "", TWILIO, 409),
        ("POST", "/nobody/activate", None, 404),
        ("POST", "/nobody/deactivate", None, 404),
        ("POST", "/nobody/token", {}, 404),
        ("PATCH", "/nobody", {}, 404),
        ("DELETE", "/nobody", None, 404),
        ("PATCH", "/main", {"endpoint": "https://a.example"}, 422),
        ("PATCH", "/hook", {"sid": "AC1"}, 422),
        ("PATCH", "/main", {"token": "t"}, 422),
        ("POST", "/main/token", {}, 422),
        ("POST", "/hook/token", {"token": "t"}, 422),
        ("GET", "?x=y", None, 400),
    ]:
        answer = await ask(client, method, path, body)
        assert (method, path, answer.status_code) == (method, path, status)


async def test_only_an_administrator_may(client: httpx2.AsyncClient, make_key: Callable[..., str]) -> None:
    client.headers["Authorization"] = f"Bearer {make_key('operate', 'notifications:write')}"
    for method, path in (
        ("GET", ""),
        ("POST", ""),
        ("PATCH", "/a"),
        ("DELETE", "/a"),
        ("POST", "/a/activate"),
    ):
        assert (await ask(client, method, path, {})).status_code == 403


async def test_instances_do_not_see_each_other(
    client: httpx2.AsyncClient, make_key: Callable[..., str]
) -> None:
    await done(client, "POST", "", TWILIO)
    client.headers["Authorization"] = f"Bearer {make_key('admin', instance='globex')}"
    assert (await done(client, "GET"))["items"] == []
    assert (await ask(client, "POST", "/main/activate")).status_code == 404
