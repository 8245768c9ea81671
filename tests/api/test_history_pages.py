from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.app import create_app
from api.dependencies import ApiDependencies, Limits
from api.page_cursor import CursorSigner
from api.problems import Refused
from api.timeline import mask_address, mask_text
from event_log.intake import ensure_instance
from event_log.log import Log
from notification_domain.identity import stream_id
from notification_domain.notification_events import Reason
from projections.following import trailing_round
from projections.history import History
from tests.projections.histories import (
    CODE,
    PARKED,
    REFERENCE,
    REJECTED,
    RESENT,
    RETRIED,
    SENT,
    declined,
    requested,
    stream,
    write,
)


def follow(log: Log) -> None:
    while trailing_round(log, History()):
        pass


@pytest.fixture
def history(log: Log) -> None:
    for number, facts in enumerate((SENT, RETRIED, PARKED, REJECTED, RESENT, ())):
        write(log, number, [requested(number), *facts])
    write(log, 6, [declined(6)])
    write(log, 0, [requested(0)], instance="other")
    follow(log)


async def listed(client: httpx2.AsyncClient, query: str = "") -> dict[str, Any]:
    answer = await client.get(f"/v1/notifications?{query}")
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


@pytest.mark.usefixtures("history")
@pytest.mark.parity("S1.h")
async def test_the_list_shows_the_newest_first(client: httpx2.AsyncClient) -> None:
    page = await listed(client)
    assert [item["user_id"] for item in page["items"]] == ["6", "5", "4", "3", "2", "1", "0"]
    assert page["next"] is None
    assert page["lag_ms"] == 0
    assert int(page["position"]) > max(int(item["position"]) for item in page["items"])
    sent = page["items"][-1]
    assert sent | {"requested_at": "", "closed_at": "", "position": ""} == {
        "id": str(stream(0)),
        "state": "sent",
        "reason": None,
        "message_type": "VerifyEmail",
        "channel": "email",
        "user_id": "0",
        "organisation_id": None,
        "source_event": {"source": "auth", "id": "event-0", "type": "user.human.email.code.added"},
        "attempts": 1,
        "requested_at": "",
        "closed_at": "",
        "position": "",
    }
    assert sent["requested_at"].endswith("Z")
    assert sent["closed_at"] >= sent["requested_at"]


FILTERED: list[tuple[str, list[str]]] = [
    ("user_id=1", ["1"]),
    ("user_id=1&user_id=3", ["3", "1"]),
    ("user_id=nobody", []),
    ("state=sent", ["0"]),
    ("state=waiting&state=parked", ["5", "2", "1"]),
    ("state=attempting&user_id=4", ["4"]),
    ("state=sent&user_id=4", []),
    ("reason=code_returned", ["6"]),
    ("reason=rejected&reason=code_returned", ["6", "3"]),
    ("message_type=InviteUser", []),
    ("channel=email&limit=2", ["6", "5"]),
    ("channel=sms", []),
    ("organisation_id=o", []),
    ("event_id=event-2", ["2"]),
    ("since=2000-01-01T00:00:00Z&until=2999-01-01T00:00:00%2B01:00&state=declined", ["6"]),
    ("since=2999-01-01T00:00:00Z", []),
    ("until=2000-01-01T00:00:00Z", []),
]


@pytest.mark.usefixtures("history")
async def test_filters_narrow_the_list(client: httpx2.AsyncClient, subtests: pytest.Subtests) -> None:
    for query, users in FILTERED:
        with subtests.test(query=query):
            page = await listed(client, query)
            assert [item["user_id"] for item in page["items"]] == users


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("limit", [1, 3, 7])
async def test_pages_put_together_are_the_list_even_while_it_grows(
    client: httpx2.AsyncClient, log: Log, limit: int
) -> None:
    whole = (await listed(client))["items"]
    page = await listed(client, f"limit={limit}")
    items = page["items"]
    while page["next"]:
        write(log, 100 + len(items), [requested(100 + len(items))])
        follow(log)
        page = await listed(client, f"limit={limit}&cursor={page['next']}")
        items += page["items"]
    assert items == whole


@pytest.mark.usefixtures("history")
async def test_a_cursor_goes_with_its_list_alone(
    client: httpx2.AsyncClient, make_key: Callable[..., str]
) -> None:
    cursor = (await listed(client, "limit=1&state=waiting&state=sent"))["next"]
    await listed(client, f"limit=5&state=sent&state=waiting&cursor={cursor}")
    for query in ("", "state=waiting", "state=sent&state=waiting&user_id=1"):
        answer = await client.get(f"/v1/notifications?{query}&cursor={cursor}")
        assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid-cursor")
    foreign = {"Authorization": f"Bearer {make_key('notifications:read', instance='other')}"}
    query = f"state=sent&state=waiting&cursor={cursor}"
    answer = await client.get(f"/v1/notifications?{query}", headers=foreign)
    assert answer.status_code == 400


@given(st.integers(0, 2**63 - 1), st.binary(max_size=20), st.data())
def test_a_cursor_with_any_bit_changed_is_refused(place: int, listed: bytes, data: st.DataObject) -> None:
    signer = CursorSigner(b"k" * 32)
    cursor = signer.sign(place, listed)
    assert signer.read(cursor, listed) == place
    at = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.sampled_from("ABCabc019-_= ").filter(lambda letter: letter != cursor[at]))
    for altered in (cursor[:at] + other + cursor[at + 1 :], cursor[:at], cursor + other):
        with pytest.raises(Refused):
            signer.read(altered, listed)
    with pytest.raises(Refused):
        signer.read(cursor, listed + b"x")
    with pytest.raises(Refused):
        CursorSigner(b"j" * 32).read(cursor, listed)


@pytest.mark.usefixtures("history")
async def test_another_instances_notification_is_not_found(
    client: httpx2.AsyncClient, make_key: Callable[..., str]
) -> None:
    foreign = {"Authorization": f"Bearer {make_key('notifications:read', instance='other')}"}
    assert (await client.get(f"/v1/notifications/{stream(0)}")).status_code == 200
    answer = await client.get(f"/v1/notifications/{stream(0)}", headers=foreign)
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
    page = (await client.get("/v1/notifications", headers=foreign)).json()
    assert [item["id"] for item in page["items"]] == [str(stream(0, "other"))]


@pytest.mark.parity("S1.h", "S5.d")
async def test_a_timeline_tells_what_happened_oldest_first(client: httpx2.AsyncClient, log: Log) -> None:
    positions = write(log, 1, [requested(1), *RETRIED, *SENT])
    detail = (await client.get(f"/v1/notifications/{stream(1)}")).json()
    assert (detail["state"], detail["attempts"]) == ("sent", 2)
    timeline = detail["timeline"]
    assert [entry["type"] for entry in timeline] == [
        "notification.requested",
        "notification.attempt.started",
        "notification.retry.requested",
        "notification.attempt.started",
        "notification.transmission.started",
        "notification.sent",
    ]
    assert [entry["position"] for entry in timeline] == [str(position) for position in positions]
    assert [entry["at"] for entry in timeline] == sorted(entry["at"] for entry in timeline)
    retried, sent = timeline[2], timeline[-1]
    assert (retried["stage"], retried["backoff"], retried["recipient"]) == (
        "rcpt",
        5.0,
        {"email": "a…@example.com", "phone": "+49…67"},
    )
    assert retried["error"] == "451 <a…@example.com> try later, or call +49…67"
    assert (sent["provider"], sent["provider_message_id"], sent["reply"]) == ("smtp", "m-1", "250 ok")


@pytest.mark.usefixtures("history")
async def test_no_answer_shows_a_code_its_reference_or_a_whole_address(client: httpx2.AsyncClient) -> None:
    page = await client.get("/v1/notifications")
    answers = [page] + [await client.get(f"/v1/notifications/{item['id']}") for item in page.json()["items"]]
    for answer in answers:
        assert answer.status_code == 200
        for hidden in (CODE, REFERENCE, "secret", "lovelace", "1701234567", "lease"):
            assert hidden not in answer.text


async def test_the_reason_of_a_decline_is_shown(client: httpx2.AsyncClient, log: Log) -> None:
    write(log, 1, [declined(1, Reason.POLICY_OFF)])
    detail = (await client.get(f"/v1/notifications/{stream(1)}")).json()
    assert (detail["state"], detail["reason"]) == ("declined", "policy_off")
    assert detail["timeline"][0]["reason"] == "policy_off"


async def test_a_source_stream_is_no_notification(client: httpx2.AsyncClient, log: Log) -> None:
    ensure_instance(log, "acme")
    answer = await client.get(f"/v1/notifications/{stream_id('acme', 'instance')}")
    assert answer.status_code == 404


async def test_min_position_is_refused_when_the_history_stays_behind(
    client: httpx2.AsyncClient, log: Log
) -> None:
    position = write(log, 1, [requested(1)])[-1]
    answer = await client.get(f"/v1/notifications?min_position={position}")
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/projection-behind")
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["position"] == "0"
    follow(log)
    assert len((await listed(client, f"min_position={position}"))["items"]) == 1


async def test_min_position_waits_until_the_history_has_come_that_far(
    dependencies: ApiDependencies, make_key: Callable[..., str], log: Log
) -> None:
    position = write(log, 1, [requested(1)])[-1]
    app = create_app(replace(dependencies, limits=Limits(min_position=10)))
    headers = {"Authorization": f"Bearer {make_key('notifications:read')}"}
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://t", headers=headers) as client:
        asking = asyncio.create_task(listed(client, f"min_position={position}"))
        await asyncio.to_thread(follow, log)
        assert len((await asking)["items"]) == 1


def test_addresses_are_masked_so_that_only_those_who_know_them_see_them() -> None:
    assert mask_address("bob@example.com") == "b…@example.com"
    assert mask_address("+491701234567") == "+49…67"
    assert mask_text("550 5.1.1 <bob@example.com>: no such user, code 21211") == (
        "550 5.1.1 <b…@example.com>: no such user, code 21211"
    )
