"""What operators ask for over REST: each command with every status it can answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx2
import psycopg
import pytest

from event_log.log import Log
from notification_domain.notification_events import Event, NotificationCancelled, Reason, TransmissionStarted
from projections.following import trailing_round
from projections.history import History
from tests.conftest import Clock
from tests.projections.histories import PARKED, RETRIED, SENT, declined, requested, stream, write
from tests.story import Story
from tests.swept import swept_database

NOBODY = UUID(int=1)
REASON = {"reason": "the user called"}
WITHOUT_CODE: dict[str, Any] = {"secret": ""}
TRANSMITTING = (*SENT[:1], TransmissionStarted(1))
CANCELLED = (NotificationCancelled(reason=Reason.EXPIRED),)


@pytest.fixture
def conninfo(server: str, template: str) -> str:
    return swept_database(server, template)


def tell(log: Log, *facts: Event, number: int = 1, instance: str = "acme", **changes: object) -> UUID:
    """A notification that has come so far; its source stream is there for write-backs."""
    write(log, number, [requested(number, **changes), *facts], instance=instance)
    return stream(number, instance)


async def post(client: httpx2.AsyncClient, path: str, body: object, **headers: str) -> httpx2.Response:
    return await client.post(f"/v1/{path}", json=body, headers=headers)


async def command(
    client: httpx2.AsyncClient, notification: UUID, name: str, **members: Any
) -> httpx2.Response:
    return await post(client, f"notifications/{notification}/{name}", REASON | members)


async def timeline(client: httpx2.AsyncClient, notification: UUID) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get(f"/v1/notifications/{notification}")).json()["timeline"]
    return found


# --- one notification -----------------------------------------------------------------------------


@pytest.mark.parametrize("facts", [(), SENT[:1], RETRIED, PARKED])
async def test_the_answer_to_a_cancellation_shows_it_done(
    client: httpx2.AsyncClient, log: Log, facts: tuple[Event, ...]
) -> None:
    notification = tell(log, *facts)
    answer = await command(client, notification, "cancel")
    assert answer.status_code == 200
    shown = answer.json()
    assert (shown["id"], shown["state"], shown["reason"]) == (str(notification), "cancelled", "operator")
    last = (await timeline(client, notification))[-1]
    assert last["position"] == shown["reached"]
    assert (last["type"], last["error"]) == ("notification.cancelled", "the user called")
    assert last["by"]
    while trailing_round(log, History()):
        pass
    page = await client.get(f"/v1/notifications?state=cancelled&min_position={shown['reached']}")
    assert [item["id"] for item in page.json()["items"]] == [str(notification)]


async def test_a_cancellation_may_be_repeated(client: httpx2.AsyncClient, log: Log) -> None:
    notification = tell(log)
    first, second = [await command(client, notification, "cancel") for _ in range(2)]
    assert first.json() == second.json()
    assert (second.status_code, second.headers["idempotency-replayed"]) == (200, "true")
    assert "idempotency-replayed" not in first.headers


async def test_what_was_cancelled_for_another_reason_stays_so(client: httpx2.AsyncClient, log: Log) -> None:
    answer = await command(client, tell(log, *CANCELLED), "cancel")
    assert (answer.status_code, answer.json()["reason"]) == (200, "expired")


REFUSED: list[tuple[str, dict[str, str], tuple[Event, ...], str, str]] = [
    ("cancel", {}, TRANSMITTING, "already-handed-over", "transmitting"),
    ("cancel", {}, SENT, "already-handed-over", "sent"),
    ("resend", {}, (), "still-open", "waiting"),
    ("resend", {}, TRANSMITTING, "still-open", "transmitting"),
    ("resend", {}, PARKED, "still-open", "parked"),
    ("resend", {}, SENT, "code-gone", "sent"),
    ("resend", {}, CANCELLED, "code-gone", "cancelled"),
    ("resolve", {"outcome": "sent"}, (), "not-parked", "waiting"),
    ("resolve", {"outcome": "retry"}, SENT, "not-parked", "sent"),
    ("resolve", {"outcome": "cancelled"}, CANCELLED, "not-parked", "cancelled"),
    ("resolve", {"outcome": "retry"}, PARKED, "expired", "parked"),
]


async def test_what_cannot_be_done_is_refused_with_the_state_and_the_position(
    client: httpx2.AsyncClient, log: Log, clock: Clock, subtests: pytest.Subtests
) -> None:
    clock.move(days=400)  # the notifications of these histories have expired by then
    for number, (name, members, facts, kind, state) in enumerate(REFUSED):
        with subtests.test(name=name, kind=kind, state=state):
            notification = tell(log, *facts, number=number)
            before = await timeline(client, notification)
            answer = await command(client, notification, name, **members)
            problem = answer.json()
            assert (answer.status_code, problem["type"]) == (409, f"/problems/{kind}")
            assert (problem["state"], problem["position"]) == (state, before[-1]["position"])
            assert await timeline(client, notification) == before


@pytest.mark.parametrize("name", ["cancel", "resend"])
async def test_what_was_declined_is_refused(client: httpx2.AsyncClient, log: Log, name: str) -> None:
    write(log, 1, [declined(1)])
    answer = await command(client, stream(1), name)
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/never-requested")


async def test_what_this_version_cannot_read_is_refused(
    client: httpx2.AsyncClient, log: Log, conninfo: str
) -> None:
    notification = tell(log, *SENT[:1])
    with psycopg.connect(conninfo) as connection:
        connection.execute("UPDATE events SET topic = 'notification.new' WHERE originator_version = 2")
    answer = await command(client, notification, "cancel")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/unreadable")


async def test_a_closed_notification_is_sent_again_once_for_each_name(
    client: httpx2.AsyncClient, log: Log
) -> None:
    notification = tell(log, *SENT, **WITHOUT_CODE)
    path = f"notifications/{notification}/resend"
    first = await post(client, path, REASON, **{"Idempotency-Key": '"again-1"'})
    assert (first.status_code, first.json()["state"]) == (201, "waiting")
    last = (await timeline(client, notification))[-1]
    assert (last["type"], last["reason"]) == ("notification.resend.requested", "the user called")
    again = await post(client, path, REASON, **{"Idempotency-Key": "again-1"})
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    other = await post(client, path, {"reason": "else"}, **{"Idempotency-Key": "again-1"})
    assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency-key-reused")
    assert (await post(client, path, REASON)).json()["type"] == "/problems/still-open"
    bad = await post(client, path, REASON, **{"Idempotency-Key": "with space"})
    assert (bad.status_code, bad.json()["type"]) == (422, "/problems/invalid-command")


@pytest.mark.parametrize(
    ("outcome", "state"), [("sent", "sent"), ("cancelled", "cancelled"), ("retry", "waiting")]
)
async def test_a_doubt_is_resolved(
    client: httpx2.AsyncClient, log: Log, clock: Clock, outcome: str, state: str
) -> None:
    story = Story(log, clock)
    story.tell("user.human.password.changed", "user/1", changed=True)
    in_time: dict[str, Any] = {"expires_at": clock.now.replace(year=clock.now.year + 1)}
    notification = tell(log, *PARKED, **WITHOUT_CODE, **in_time)
    answer = await command(client, notification, "resolve", outcome=outcome)
    assert (answer.status_code, answer.json()["state"]) == (200, state)
    assert (await command(client, notification, "resolve", outcome=outcome)).status_code == 409


@pytest.mark.parametrize("name", ["cancel", "resend", "resolve"])
async def test_there_is_nothing_to_command_elsewhere(client: httpx2.AsyncClient, log: Log, name: str) -> None:
    foreign = tell(log, instance="other")
    members = {"outcome": "sent"} if name == "resolve" else {}
    for wanted in (NOBODY, foreign):
        answer = await command(client, wanted, name, **members)
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
    answer = await post(client, f"notifications/nonsense/{name}", REASON | members)
    assert answer.status_code == 404


BAD_COMMANDS: list[tuple[object, str]] = [
    ({}, "/reason"),
    ({"reason": None}, "/reason"),
    ({"reason": ""}, "/reason"),
    ({"reason": "   "}, "/reason"),
    ({"reason": "x" * 501}, "/reason"),
    ({"reason": "two\nlines"}, "/reason"),
    ({"reason": 5}, "/reason"),
    ({"reason": "x", "why": 1}, "/why"),
    ({"reason": "x", "outcome": "lost"}, "/outcome"),
    ({"reason": "x"}, "/outcome"),
    (["reason"], ""),
    ("x", ""),
]


async def test_a_command_that_is_not_as_it_must_be_is_refused_at_the_member(
    client: httpx2.AsyncClient, log: Log, subtests: pytest.Subtests
) -> None:
    notification = tell(log, *PARKED)
    for body, pointer in BAD_COMMANDS:
        with subtests.test(body=str(body)):
            answer = await post(client, f"notifications/{notification}/resolve", body)
            assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-command")
            assert pointer in [fault["pointer"] for fault in answer.json()["errors"]]
    assert len(await timeline(client, notification)) == 1 + len(PARKED)


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b'{"reason": "x"}', "text/plain", 415),
        (b'{"reason": "x"', "application/json", 400),
        (b'{"reason": "x", "reason": "y"}', "application/json", 400),
        (b'{"reason": "' + b"x" * 20_000 + b'"}', "application/json", 413),
        (b'{"reason": "x"}', "application/json; charset=utf-8", 200),
    ],
)
async def test_only_small_strict_json_is_a_command(
    client: httpx2.AsyncClient, log: Log, content: bytes, content_type: str, status: int
) -> None:
    path = f"/v1/notifications/{tell(log)}/cancel"
    answer = await client.post(path, content=content, headers={"Content-Type": content_type})
    assert answer.status_code == status


@pytest.mark.parity("S5.14", "LSE-13")
@pytest.mark.parametrize(
    ("path", "scope"),
    [
        (f"notifications/{NOBODY}/cancel", "notifications:write"),
        (f"notifications/{NOBODY}/resend", "notifications:write"),
        (f"notifications/{NOBODY}/resolve", "notifications:write"),
        ("delivery/pause", "notifications:write"),
        ("delivery/resume", "notifications:write"),
        ("quarantine/1/redrive", "operate"),
    ],
)
async def test_a_key_without_the_scope_is_denied(
    client: httpx2.AsyncClient, make_key: Callable[..., str], path: str, scope: str
) -> None:
    client.headers["Authorization"] = f"Bearer {make_key('events:append', 'notifications:read')}"
    answer = await post(client, path, REASON)
    assert (answer.status_code, answer.json()["scope"]) == (403, scope)
    del client.headers["Authorization"]
    assert (await post(client, path, REASON)).status_code == 401


# --- delivery -------------------------------------------------------------------------------------


@pytest.mark.parity("LSE-14")
async def test_a_pause_is_shown_with_its_reason_until_it_is_over(client: httpx2.AsyncClient) -> None:
    paused = await post(client, "delivery/pause", REASON | {"channel": "email"})
    assert paused.status_code == 200
    assert paused.json()["changed"] is True
    (shown,) = (await client.get("/v1/delivery/pause")).json()["items"]
    assert (shown["instance"], shown["channel"], shown["reason"]) == ("acme", "email", "the user called")
    assert shown["by"] == client.headers["Authorization"].split("_")[1], "the id of the key"
    assert shown["since"].endswith("Z")
    again = await post(client, "delivery/pause", REASON | {"channel": "email"})
    assert again.json() == {"changed": False, "items": [shown]}
    all_of_them = await post(client, "delivery/resume", REASON)
    assert all_of_them.json() == {"changed": False, "items": [shown]}
    over = await post(client, "delivery/resume", REASON | {"channel": "email"})
    assert over.json() == {"changed": True, "items": []}


@pytest.mark.parity("LSE-13")
async def test_only_operators_pause_the_whole_deployment(
    client: httpx2.AsyncClient, make_key: Callable[..., str]
) -> None:
    writer, reader = make_key("notifications:write", "notifications:read"), make_key("operate", instance="b")
    everywhere = REASON | {"everywhere": True, "channel": None}
    client.headers["Authorization"] = f"Bearer {writer}"
    denied = await post(client, "delivery/pause", everywhere)
    assert (denied.status_code, denied.json()["scope"]) == (403, "operate")
    client.headers["Authorization"] = f"Bearer {reader}"
    assert (await post(client, "delivery/pause", everywhere)).status_code == 403
    client.headers["Authorization"] = f"Bearer {make_key('operate', 'notifications:write', instance='b')}"
    (shown,) = (await post(client, "delivery/pause", everywhere)).json()["items"]
    assert (shown["instance"], shown["channel"]) == (None, None)
    client.headers["Authorization"] = f"Bearer {writer}"
    assert (await client.get("/v1/delivery/pause")).json()["items"] == [shown]
    assert (await post(client, "delivery/resume", REASON)).json()["changed"] is False


@pytest.mark.parametrize(
    ("members", "pointer"),
    [({"channel": "fax"}, "/channel"), ({"channel": 1}, "/channel"), ({"everywhere": "yes"}, "/everywhere")],
)
async def test_a_pause_of_nothing_we_know_is_refused(
    client: httpx2.AsyncClient, members: dict[str, object], pointer: str
) -> None:
    answer = await post(client, "delivery/pause", REASON | members)
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


async def test_the_pauses_take_no_parameters_and_no_other_method(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/v1/delivery/pause?channel=email")).status_code == 400
    assert (await client.head("/v1/delivery/pause")).status_code == 200
    refused = await client.delete("/v1/delivery/pause")
    assert refused.status_code == 405
    assert {method.strip() for method in refused.headers["allow"].split(",")} >= {"GET", "POST"}


@pytest.mark.parametrize("name", ["tidings.delivery.paused", "Tidings.x", "tidings"])
async def test_the_settings_events_are_no_callers(client: httpx2.AsyncClient, name: str) -> None:
    event = {"specversion": "1.0", "id": "1", "source": "a", "type": name, "subject": "user/1"}
    answer = await client.post(
        "/v1/events", json=event, headers={"Content-Type": "application/cloudevents+json"}
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/type"


# --- quarantine -----------------------------------------------------------------------------------


@pytest.fixture
def poisoned(log: Log, clock: Clock) -> Story:
    """Events nobody validated, in two instances; they cannot be digested."""
    story = Story(log, clock)
    story.tell("user.human.email.changed")
    story.ask_for_code()
    story.tell("user.human.email.changed", instance="other")
    story.handle()
    return story


async def test_the_quarantine_shows_what_is_the_keys_own(client: httpx2.AsyncClient, poisoned: Story) -> None:
    page = (await client.get("/v1/quarantine")).json()
    assert page["next"] is None
    assert [(item["position"], item["type"]) for item in page["items"]] == [
        ("1", "user.human.email.changed"),
        ("2", "user.human.email.code.added"),
    ]
    assert page["items"][1]["reason"] == "an earlier event of its stream is quarantined"
    assert len({item["stream"] for item in page["items"]}) == 1
    rest = await client.get("/v1/quarantine?after=1")
    assert [item["position"] for item in rest.json()["items"]] == ["2"]
    assert poisoned.count("quarantined_events") == 3


@pytest.mark.usefixtures("poisoned")
async def test_a_redrive_tells_what_came_of_it(client: httpx2.AsyncClient, conninfo: str) -> None:
    stays = (await client.post("/v1/quarantine/2/redrive")).json()
    assert stays["handled"] == []
    assert [item["position"] for item in stays["remaining"]] == ["1", "2"]
    with psycopg.connect(conninfo) as connection:  # as if it had been handled
        connection.execute("DELETE FROM quarantined_events WHERE position = 1")
    assert (await client.post("/v1/quarantine/2/redrive")).json() == {"handled": ["2"], "remaining": []}
    assert (await client.get("/v1/quarantine")).json()["items"] == []


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("position", ["3", "4", "0", "x", "9" * 30, "²"])
async def test_there_is_nothing_to_redrive_elsewhere(client: httpx2.AsyncClient, position: str) -> None:
    answer = await client.post(f"/v1/quarantine/{position}/redrive")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


@pytest.mark.parametrize("query", ["limit=5", "after=x", "after=1&after=2", "after="])
async def test_only_a_page_can_be_asked_for(client: httpx2.AsyncClient, query: str) -> None:
    assert (await client.get(f"/v1/quarantine?{query}")).status_code == 400


# --- the document ---------------------------------------------------------------------------------


async def test_the_document_names_every_status_of_every_command(client: httpx2.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    usual = {"400", "401", "403", "405", "408", "413", "415", "422", "500", "503"}
    for name, success in (("cancel", "200"), ("resend", "201"), ("resolve", "200")):
        documented = paths[f"/v1/notifications/{{id}}/{name}"]["post"]
        assert set(documented["responses"]) == usual | {"404", "409", success}
        assert "reason" in documented["requestBody"]["content"]["application/json"]["schema"]["required"]
    for name in ("pause", "resume"):
        assert set(paths[f"/v1/delivery/{name}"]["post"]["responses"]) == usual | {"200"}
    assert set(paths["/v1/delivery/pause"]) == {"get", "post"}
