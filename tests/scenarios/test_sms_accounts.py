"""SMS accounts as an instance sets them up, seen from the servers that its messages arrive at."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest

from notification_domain.notification_events import NotificationCancelled, Reason, RetryRequested
from tests.story import ORIGIN, Story
from tests.workers.conftest import Office, until
from tests.workers.misbehaving_http import MisbehavingHttp, answer
from workers.channels.address_guard import networks
from workers.instance_routes import InstanceRoutes, Surroundings

MAIN = {"id": "main", "sid": "ACmain", "token": "t0ken", "senderNumber": "+41790000001"}
SPARE = {"id": "spare", "sid": "ACspare", "token": "t1ken", "senderNumber": "+41790000002"}
TAKEN = answer(201, json.dumps({"sid": "SM" + "0" * 32, "status": "queued"}).encode())


@pytest.fixture(autouse=True)
def _ann(story: Story) -> None:
    story.add_user()
    story.tell("user.human.phone.verified")


@pytest.fixture
async def servers() -> AsyncIterator[list[MisbehavingHttp]]:
    """Two that take everything."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(MisbehavingHttp(TAKEN).serving()) for _ in range(2)]


def routes(office: Office, twilio: str = "", deployment: Mapping[str, Any] | None = None) -> InstanceRoutes:
    url = twilio or office.base_url
    given = office.routes() if deployment is None else deployment
    return InstanceRoutes(office.log, given, Surroundings(url, url, networks(["127.0.0.0/8"])), office.clock)


def tell(story: Story, what: str, **data: Any) -> None:
    story.tell(f"instance.sms.config{what}", "instance", **data)


def ask_by_sms(story: Story) -> None:
    code: dict[str, Any] = {"code": "12345678", "expiry": 3600, "trigger_origin": ORIGIN}
    story.tell("user.human.mfa.otp.sms.code.added", **code)


@pytest.mark.parity("S4.2", "S4.4", "S4.8")
async def test_twilio_gets_the_plain_token_and_the_number_of_the_account(
    office: Office, story: Story, servers: list[MisbehavingHttp]
) -> None:
    tell(story, "twilio.added", **MAIN)
    tell(story, "activated", id="main")
    ask_by_sms(story)
    await office.deliver(routes(office, f"http://127.0.0.1:{servers[0].port}"))
    (request,) = servers[0].requests
    login = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
    assert login == "ACmain:t0ken"
    assert request.line == "POST /2010-04-01/Accounts/ACmain/Messages.json HTTP/1.1"
    assert (request.form["From"], request.form["To"]) == ("+41790000001", "+41791234567")


@pytest.mark.parity("S4.4")
async def test_nothing_is_attempted_when_the_token_does_not_open(
    office: Office, story: Story, conninfo: str
) -> None:
    tell(story, "twilio.added", **MAIN)
    tell(story, "activated", id="main")
    with psycopg.connect(conninfo) as owner:
        owner.execute("UPDATE secrets SET sealed = set_byte(sealed, 20, 255 - get_byte(sealed, 20))")
    ask_by_sms(story)
    await office.deliver(routes(office))
    waiting = office.last()
    assert isinstance(waiting, RetryRequested)
    assert (waiting.error, waiting.counts) == ("SMS provider main: its token is gone", False)
    assert await office.messages() == []


@pytest.mark.parity("S4.2", "S4.5", "CHN-12")
async def test_the_next_message_goes_to_the_new_endpoint_when_it_is_changed(
    office: Office, story: Story, servers: list[MisbehavingHttp]
) -> None:
    first, second = (f"http://127.0.0.1:{server.port}/sms" for server in servers)
    tell(story, "http.added", id="hook", description="Own", endpoint=first, signingKey="k3y")
    tell(story, "activated", id="hook")
    ask_by_sms(story)
    story.handle()
    async with office.working(routes(office)):
        await until(lambda: len(servers[0].requests) == 1 and not office.busy())
        tell(story, "http.changed", id="hook", endpoint=second)
        ask_by_sms(story)
        story.handle()
        await until(lambda: not office.busy())
    assert [[request.line for request in server.requests] for server in servers] == [
        ["POST /sms HTTP/1.1"],
        ["POST /sms HTTP/1.1"],
    ]
    context = json.loads(servers[1].requests[0].body)["contextInfo"]
    assert context["provider"] == {"id": "hook", "description": "Own"}


@pytest.mark.parity("S4.7", "S4.b")
async def test_what_waits_leaves_through_the_spare_once_that_is_activated(
    office: Office, story: Story
) -> None:
    tell(story, "twilio.added", **MAIN)
    tell(story, "twilio.added", **SPARE)
    tell(story, "activated", id="main")
    await office.web.set_fault("sms", "request", "refuse", code=401, count=100)
    ask_by_sms(story)
    await office.deliver(routes(office))
    assert isinstance(office.last(), RetryRequested)
    await office.web.call("DELETE", "/sandbox/faults")
    tell(story, "activated", id="spare")
    office.clock.move(minutes=2)
    await office.deliver(routes(office))
    assert [message["from"] for message in await office.messages()] == ["+41790000002"]


@pytest.mark.parity("S4.a")
async def test_a_fault_of_the_settings_keeps_a_message_open_until_it_expires(
    office: Office, story: Story
) -> None:
    tell(story, "twilio.added", **(MAIN | {"token": ""}))
    tell(story, "activated", id="main")
    ask_by_sms(story)
    for _ in range(5):
        await office.deliver(routes(office))
        waiting = office.last()
        assert isinstance(waiting, RetryRequested)
        assert (waiting.error, waiting.counts) == ("SMS provider main has no token", False)
        office.clock.move(minutes=10)
    office.clock.move(hours=1)
    await office.deliver(routes(office))
    ended = office.last()
    assert isinstance(ended, NotificationCancelled)
    assert ended.reason is Reason.EXPIRED
