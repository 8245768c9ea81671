"""An instance's own SMS provider, from the events that set it up to the message that leaves through it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import psycopg
import pytest

from event_log.log import Log, read_stream
from event_log.provider_commands import overview
from event_log.provider_settings import Stored, newest
from notification_domain.identity import stream_id
from notification_domain.notification_events import (
    AttemptStarted,
    NotificationCancelled,
    Reason,
    RetryRequested,
)
from tests.conftest import Clock
from tests.story import ORIGIN, Story
from tests.workers.conftest import Office, until
from tests.workers.misbehaving_http import MisbehavingHttp, answer
from workers.channels.address_guard import networks
from workers.instance_routes import InstanceRoutes, Surroundings
from workers.routes import Closed, Route

MAIN = {"id": "main", "sid": "ACmain", "token": "t0ken", "senderNumber": "+41790000001"}
SPARE = {"id": "spare", "sid": "ACspare", "token": "t1ken", "senderNumber": "+41790000002"}


SANDBOX = "+15005550006"


def add(story: Story, *accounts: Mapping[str, Any], active: str = "main") -> None:
    for account in accounts:
        story.tell("instance.sms.configtwilio.added", "instance", **account)
    if active:
        story.tell("instance.sms.configactivated", "instance", id=active)


def ask_by_sms(story: Story, subject: str = "user/ann") -> None:
    code: dict[str, Any] = {"code": "12345678", "expiry": 3600, "trigger_origin": ORIGIN}
    story.tell("user.human.mfa.otp.sms.code.added", subject, **code)


@pytest.fixture(autouse=True)
def _ann(story: Story) -> None:
    for user in ("ann", "bob"):
        story.add_user(user)
        story.tell("user.human.phone.verified", f"user/{user}")


def own_routes(office: Office, deployment: Mapping[str, Route] | None = None) -> InstanceRoutes:
    surroundings = Surroundings(office.base_url, office.base_url, networks(["127.0.0.0/8"]))
    given = office.routes() if deployment is None else deployment
    return InstanceRoutes(office.log, given, surroundings, office.clock)


async def accounts(office: Office) -> list[str]:
    """Which number each text message came from."""
    return [message["from"] for message in await office.messages(channel="sms")]


@pytest.mark.parity("S4.1")
async def test_the_active_account_is_used_and_the_deployments_where_none_is(
    office: Office, story: Story
) -> None:
    add(story, MAIN, SPARE, active="")
    ask_by_sms(story)
    await office.deliver(own_routes(office))
    story.tell("instance.sms.configactivated", "instance", id="main")
    ask_by_sms(story)
    await office.deliver(own_routes(office))
    assert await accounts(office) == [SANDBOX, MAIN["senderNumber"]]
    attempts = [
        fact.provider
        for decided in story.decisions()
        for fact in story.facts(decided.id)
        if isinstance(fact, AttemptStarted)
    ]
    assert attempts == ["sandbox", "main"]


@pytest.mark.parity("S4.7")
async def test_a_running_worker_changes_over_with_the_very_next_message(office: Office, story: Story) -> None:
    add(story, MAIN, SPARE)
    routes = own_routes(office)
    ask_by_sms(story)
    story.handle()
    async with office.working(routes):
        await until(lambda: not office.busy())
        story.tell("instance.sms.configactivated", "instance", id="spare")
        ask_by_sms(story)
        story.handle()
        await until(lambda: not office.busy())
    assert await accounts(office) == [MAIN["senderNumber"], SPARE["senderNumber"]]


@pytest.mark.parity("S4.1")
async def test_each_instance_keeps_to_its_own(office: Office, story: Story) -> None:
    add(story, MAIN)
    routes = own_routes(office)
    routes.refresh([("acme", "sms"), ("globex", "sms")])
    mine, theirs = routes.route("acme", "sms"), routes.route("globex", "sms")
    assert isinstance(mine, Route)
    assert isinstance(theirs, Route)
    assert (mine.channel.provider, theirs.channel.provider) == ("main", "sandbox")
    await routes.close()


async def test_a_channel_is_kept_until_its_settings_change(office: Office, story: Story) -> None:
    add(story, MAIN, SPARE)
    routes = own_routes(office)

    def channel() -> object:
        routes.refresh([("acme", "sms")])
        route = routes.route("acme", "sms")
        assert isinstance(route, Route)
        return route.channel

    first = channel()
    story.tell("instance.sms.config.twilio.changed", "instance", id="spare", description="of no matter")
    assert channel() is first
    story.tell("instance.sms.config.twilio.token.changed", "instance", id="main", token="other")
    assert channel() is not first
    await routes.close()


@pytest.mark.parity("S4.3")
@pytest.mark.parametrize(
    ("account", "error"),
    [
        (MAIN | {"token": "", "description": "Main"}, "SMS provider main (Main) has no token"),
        (MAIN | {"senderNumber": ""}, "SMS provider main has no sender number or Verify service"),
    ],
)
async def test_a_message_waits_without_an_attempt_when_a_part_is_missing(
    office: Office, story: Story, account: Mapping[str, Any], error: str
) -> None:
    add(story, account)
    ask_by_sms(story)
    await office.deliver(own_routes(office))
    waiting = office.last()
    assert isinstance(waiting, RetryRequested)
    assert (waiting.error, waiting.counts) == (error, False)
    story.tell("instance.sms.config.twilio.token.changed", "instance", id="main", token="t0ken")
    story.tell("instance.sms.config.twilio.changed", "instance", id="main", senderNumber="+41790000001")
    office.clock.move(seconds=200)
    await office.deliver(own_routes(office))
    assert await accounts(office) == [MAIN["senderNumber"]]


@pytest.mark.parity("S4.6")
async def test_a_message_that_nobody_can_carry_is_cancelled_at_its_end_for_want_of_a_provider(
    office: Office, story: Story
) -> None:
    ask_by_sms(story)
    await office.deliver(own_routes(office, {}))
    assert isinstance(office.last(), RetryRequested)
    office.clock.move(hours=2)
    await office.deliver(own_routes(office, {}))
    ended = office.last()
    assert isinstance(ended, NotificationCancelled)
    assert ended.reason is Reason.NO_PROVIDER


@pytest.mark.parity("S4.a")
async def test_a_fault_of_the_account_costs_no_attempt_and_pauses_it_for_all(
    office: Office, story: Story
) -> None:
    add(story, MAIN)
    await office.web.set_fault("sms", "request", "refuse", code=401, count=1)
    routes = own_routes(office)
    ask_by_sms(story)
    story.handle()
    async with office.working(routes):
        await until(lambda: bool(overview(office.log, "acme").pauses) and not office.busy())
        ask_by_sms(story, "user/bob")
        story.handle()
        await until(lambda: not office.busy())
    paused = overview(office.log, "acme").pauses["main"]
    assert (paused.faults, "20003" in paused.error) == (1, True)
    first, second = (story.facts(decided.id) for decided in story.decisions())
    assert [type(fact).__name__ for fact in second] == ["NotificationRequested", "RetryRequested"]
    assert [fact.counts for fact in (first[-1], second[-1]) if isinstance(fact, RetryRequested)] == [
        False
    ] * 2
    assert await accounts(office) == []
    office.clock.move(seconds=200)
    await office.deliver(own_routes(office))
    assert await accounts(office) == [MAIN["senderNumber"], MAIN["senderNumber"]]
    assert overview(office.log, "acme").pauses == {}


@pytest.mark.parity("S4.8")
async def test_twilio_makes_the_code_itself_and_the_write_back_says_under_which_name(
    office: Office, story: Story
) -> None:
    add(story, MAIN | {"verifyServiceSid": "VA1", "senderNumber": ""})
    story.tell("user.human.phone.code.added", generatorId="main", trigger_origin=ORIGIN)
    await office.deliver(own_routes(office))
    assert office.topics()[-1] == "NotificationSent"
    (message,) = await office.messages(channel="sms")
    assert message["text"].startswith("Your verification code is ")
    sent = read_stream(office.log, stream_id("acme", "user/ann"))[-1]
    assert sent.topic == "user.human.phone.code.sent"
    data = getattr(sent.fact, "data", {})
    assert data["generatorInfo"] == {"id": "main", "verificationId": office.last().provider_message_id}
    assert data["generatorInfo"]["verificationId"].startswith("VE")


async def test_a_code_made_elsewhere_waits_for_a_verify_service(office: Office, story: Story) -> None:
    add(story, MAIN)
    story.tell("user.human.phone.code.added", generatorId="main", trigger_origin=ORIGIN)
    await office.deliver(own_routes(office))
    waiting = office.last()
    assert isinstance(waiting, RetryRequested)
    assert "no verification service" in waiting.error


async def test_a_text_of_our_own_waits_when_there_is_a_verify_service_alone(
    office: Office, story: Story
) -> None:
    add(story, MAIN | {"verifyServiceSid": "VA1", "senderNumber": ""})
    ask_by_sms(story)
    await office.deliver(own_routes(office))
    waiting = office.last()
    assert isinstance(waiting, RetryRequested)
    assert (waiting.error, waiting.counts) == ("main has no sender number for texts of our own", False)


@pytest.fixture
async def endpoint() -> AsyncIterator[MisbehavingHttp]:
    async with MisbehavingHttp(answer(200, b"ok")).serving() as server:
        yield server


async def test_an_http_provider_gets_the_text_and_the_code(
    office: Office, story: Story, endpoint: MisbehavingHttp
) -> None:
    url = f"http://127.0.0.1:{endpoint.port}/sms"
    story.tell("instance.sms.confighttp.added", "instance", id="hook", endpoint=url, signingKey="k3y")
    story.tell("instance.sms.configactivated", "instance", id="hook")
    ask_by_sms(story)
    await office.deliver(own_routes(office))
    assert office.topics()[-1] == "NotificationSent"
    body = json.loads(endpoint.requests[0].body)
    assert body["args"]["code"] == "12345678"
    assert body["contextInfo"]["eventType"] == "user.human.mfa.otp.sms.code.added"
    assert "12345678" in body["templateData"]["text"]
    assert endpoint.requests[0].headers["webhook-id"] == f"{office.only()}.1"


@pytest.mark.parity("S4.4")
async def test_no_credential_is_in_the_log(story: Story, conninfo: str) -> None:
    add(story, MAIN | {"token": "sesame-open"})
    told = str([event.fact for event in story.events(ours=False)])
    assert "ACmain" in told
    assert "sesame" not in told
    with psycopg.connect(conninfo) as connection:
        stored = connection.execute("SELECT string_agg(encode(state, 'escape'), ' ') FROM events").fetchone()
        (kept,) = connection.execute("SELECT count(*) FROM secrets WHERE expires_at IS NULL").fetchall()
    assert stored
    assert "sesame" not in stored[0]
    assert kept == (1,)


@pytest.mark.parity("S4.1")
async def test_an_instance_whose_settings_are_unreadable_sends_nothing(
    office: Office, story: Story, conninfo: str
) -> None:
    add(story, MAIN)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(
            "UPDATE events SET state = '\\x00' WHERE topic = 'instance.sms.configtwilio.added'"
        )
    routes = own_routes(office)
    routes.refresh([("acme", "sms")])
    closed = routes.route("acme", "sms")
    assert isinstance(closed, Closed)
    assert "unreadable" in closed.error
    ask_by_sms(story)
    await office.deliver(routes)
    waiting = office.last()
    assert isinstance(waiting, RetryRequested)
    assert (waiting.error, waiting.counts) == (closed.error, False)
    assert await office.messages() == []


def test_what_is_known_is_read_no_second_time(log: Log, story: Story, clock: Clock) -> None:
    del clock
    add(story, MAIN)
    with log.database.connection() as connection:
        cursor = connection.cursor()
        first = newest(log, cursor, ["acme", "globex"], {})
        assert newest(log, cursor, ["acme", "globex"], first) == first
        assert cursor.rowcount == 0
    assert first["globex"] == Stored()
    assert first["acme"].providers.active == "main"
