from __future__ import annotations

import json
from collections.abc import Callable

import httpx2
import pytest
from starlette.requests import Request

from api.authentication import Authentication
from api.cloud_events import SINGLE
from api.problems import Refused
from event_log.api_keys import ApiKey, list_keys, revoke_key, verify_key
from event_log.database import Database
from event_log.log import Log, read_stream
from notification_domain.identity import stream_id
from tests.api.events import event
from tests.conftest import Clock


def asking(presented: str) -> Request:
    return Request({"type": "http", "headers": [(b"authorization", f"Bearer {presented}".encode())]})


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/v1/events", "events:append"),
        ("GET", "/v1/notifications", "notifications:read"),
        ("GET", "/v1/notifications/00000000-0000-0000-0000-000000000000", "notifications:read"),
    ],
)
async def test_a_key_without_the_scope_is_told_which_one_is_missing(
    client: httpx2.AsyncClient, make_key: Callable[..., str], method: str, path: str, scope: str
) -> None:
    headers = {"Authorization": f"Bearer {make_key('operate', 'notifications:write')}"}
    answer = await client.request(method, path, headers=headers)
    assert answer.status_code == 403
    assert scope in answer.json()["detail"]
    assert f'scope="{scope}"' in answer.headers["www-authenticate"]
    del client.headers["authorization"]
    assert (await client.request(method, path)).status_code == 401


async def test_the_instance_is_that_of_the_key(
    client: httpx2.AsyncClient, make_key: Callable[..., str], log: Log
) -> None:
    headers = {
        "Authorization": f"bearer {make_key('events:append', instance='other')}",
        "Content-Type": SINGLE,
    }
    body = json.dumps(event(instance="acme")).encode()
    answer = await client.post("/v1/events", content=body, headers=headers)
    assert answer.status_code == 201
    assert read_stream(log, stream_id("acme", "user/42")) == []
    assert len(read_stream(log, stream_id("other", "user/42"))) == 1


async def test_a_key_is_looked_up_again_once_it_may_have_been_revoked(
    database: Database, make_key: Callable[..., str], clock: Clock
) -> None:
    looked_up: list[str] = []

    def verify(presented: str) -> ApiKey | None:
        looked_up.append(presented)
        return verify_key(database, presented)

    text = make_key("operate")
    believing, doubting = Authentication(verify, 60.0), Authentication(verify, 0.0)
    for _ in range(3):
        assert (await believing.key(asking(text), "operate")).instance == "acme"
        assert (await doubting.key(asking(text), "operate")).instance == "acme"
    assert len(looked_up) == 1 + 3
    (key,) = list_keys(database)
    revoke_key(database, key.id, clock())
    with pytest.raises(Refused, match="unknown or revoked"):
        await doubting.key(asking(text), "operate")


async def test_a_wrong_key_is_never_remembered() -> None:
    answers = [None, None]
    authentication = Authentication(lambda _: answers.pop(), 60.0)
    for _ in range(2):
        with pytest.raises(Refused):
            await authentication.key(asking("tdg_a_b"), "operate")
    assert answers == []
