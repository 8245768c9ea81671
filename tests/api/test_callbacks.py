"""Twilio's status callbacks over a real socket: whose word is taken, and what becomes of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx2
import psycopg
import pytest
from twilio.request_validator import RequestValidator

from api.app import create_app
from api.callbacks import MOST_BYTES
from api.dependencies import ApiDependencies, Callbacks
from event_log.callbacks import TWILIO_PATH, Reference, seal_reference
from event_log.log import Log, read_stream
from notification_domain.notification_events import (
    AttemptStarted,
    Event,
    FeedbackReceived,
    ResendRequested,
)
from tests.conftest import Clock
from tests.projections.histories import PARKED, SENT, requested, stream, write
from tests.serving import serving
from tests.story import Story
from tests.swept import swept_database

TOKEN = "the deployment's auth token"
OWN_TOKEN = "the instance's own"
FORM = {
    "AccountSid": "AC1",
    "ApiVersion": "2010-04-01",
    "From": "+15005550006",
    "MessageSid": "SM1",
    "MessageStatus": "delivered",
    "RawDlrDoneDate": "2611220830",
    "SmsStatus": "delivered",
    "To": "+491701234567",
    "SomethingNew": "of tomorrow & äöü",
}
UNDELIVERED = FORM | {"MessageStatus": "undelivered", "SmsStatus": "undelivered", "ErrorCode": "30005"}
TRANSMITTING = SENT[:2]


@pytest.fixture
def conninfo(server: str, template: str) -> str:
    return swept_database(server, template)


class Caller:
    """Calls back as Twilio would, unless told otherwise."""

    def __init__(self, url: str, log: Log) -> None:
        self.url = url
        self._log = log
        self._client = httpx2.Client(timeout=10)

    def address(self, notification: UUID, attempt: int = 1) -> str:
        reference = seal_reference(self._log.callback_seal, Reference(notification, attempt))
        return f"{self.url}{TWILIO_PATH}{reference}"

    def call(self, address: str, form: Mapping[str, str] = FORM, token: str = TOKEN) -> httpx2.Response:
        return self.post(address, form, RequestValidator(token).compute_signature(address, dict(form)))

    def post(self, address: str, form: Mapping[str, str], signature: str) -> httpx2.Response:
        return self._client.post(address, data=dict(form), headers={"X-Twilio-Signature": signature})

    def send(self, address: str, **more: Any) -> httpx2.Response:
        return self._client.post(address, **more)

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def twilio(dependencies: ApiDependencies, log: Log) -> Iterator[Caller]:
    def build(url: str) -> Any:
        callbacks = Callbacks(public_url=url, twilio_tokens={"smtp": TOKEN})
        return create_app(replace(dependencies, callbacks=callbacks))

    with serving(build) as url:
        caller = Caller(url, log)
        yield caller
        caller.close()


def tell(log: Log, clock: Clock, *facts: Event, **changes: object) -> UUID:
    """A text message that has come so far; its source stream is there for the write-back."""
    Story(log, clock).tell("user.human.password.changed", "user/1", changed=True)
    return begin(log, *facts, **changes)


def begin(log: Log, *facts: Event, **changes: object) -> UUID:
    write(log, 1, [requested(1, channel="sms", secret="", **changes), *facts])
    return stream(1)


def told(log: Log, notification: UUID) -> list[str]:
    return [type(event.fact).__name__ for event in read_stream(log, notification)]


def feedback(log: Log, notification: UUID) -> list[tuple[str, str]]:
    facts = [event.fact for event in read_stream(log, notification)]
    return [(fact.status, fact.code) for fact in facts if isinstance(fact, FeedbackReceived)]


# --- whose word is taken --------------------------------------------------------------------------


def test_a_signed_report_is_recorded_beside_the_ending(twilio: Caller, log: Log, clock: Clock) -> None:
    notification = tell(log, clock, *SENT)
    answer = twilio.call(twilio.address(notification), UNDELIVERED)
    assert (answer.status_code, answer.content) == (204, b"")
    (last,) = read_stream(log, notification)[4:]
    assert last.fact == FeedbackReceived(
        attempt=1,
        provider="smtp",
        provider_message_id="SM1",
        status="undelivered",
        standing="failed",
        code="30005",
        error="the number is unknown or in service no more",
    )


@pytest.mark.parametrize("signature", ["", "nonsense", "ä", "A" * 5000])
def test_a_wrong_signature_is_refused_and_nothing_recorded(
    twilio: Caller, log: Log, clock: Clock, signature: str
) -> None:
    notification = tell(log, clock, *SENT)
    headers = {"X-Twilio-Signature": signature.encode()}
    answer = twilio.send(twilio.address(notification), data=FORM, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forged")
    assert feedback(log, notification) == []


def test_a_signature_for_other_fields_another_address_or_by_another_token_is_refused(
    twilio: Caller, log: Log, clock: Clock
) -> None:
    notification = tell(log, clock, *SENT)
    address, other = twilio.address(notification), twilio.address(notification)
    signature = RequestValidator(TOKEN).compute_signature(address, FORM)
    assert twilio.post(address, UNDELIVERED, signature).status_code == 403
    assert twilio.post(other, FORM, signature).status_code == 403
    assert twilio.call(address, token=OWN_TOKEN).status_code == 403
    assert twilio.call(address, token="").status_code == 403
    assert feedback(log, notification) == []
    assert twilio.post(address, FORM, signature).status_code == 204


def test_an_instances_own_account_is_checked_by_its_own_token(twilio: Caller, log: Log, clock: Clock) -> None:
    story = Story(log, clock)
    story.tell("instance.sms.configtwilio.added", "instance", id="main", sid="AC1", token=OWN_TOKEN)
    notification = begin(log, AttemptStarted(1, 5, "main"), *SENT[1:])
    address = twilio.address(notification)
    assert twilio.call(address).status_code == 403
    assert twilio.call(address, token=OWN_TOKEN).status_code == 204
    story.tell("instance.sms.configtwilio.token.changed", "instance", id="main", token="renewed")
    assert twilio.call(address, UNDELIVERED, OWN_TOKEN).status_code == 403
    assert twilio.call(address, UNDELIVERED, "renewed").status_code == 204
    story.tell("instance.sms.configtwilio.removed", "instance", id="main")
    assert twilio.call(address, UNDELIVERED, "renewed").status_code == 403


def test_the_answer_is_the_same_whether_there_is_a_notification(
    twilio: Caller, log: Log, clock: Clock
) -> None:
    known, unknown = twilio.address(tell(log, clock, *SENT)), twilio.address(UUID(int=1))
    answers = [twilio.post(address, FORM, "forged") for address in (known, unknown)]
    assert {answer.status_code for answer in answers} == {403}
    assert answers[0].content == answers[1].content
    assert twilio.call(twilio.address(stream(1), 2)).status_code == 403


@pytest.mark.parametrize("reference", ["x", "A" * 64, "%00", "a" * 5000, "ä", ".."])
def test_an_address_that_is_not_ours_is_not_found(twilio: Caller, reference: str) -> None:
    answer = twilio.call(f"{twilio.url}{TWILIO_PATH}{reference}")
    assert answer.status_code == 404


def test_nobody_is_heard_while_no_public_address_is_known(dependencies: ApiDependencies, log: Log) -> None:
    with serving(lambda _: create_app(dependencies)) as url:
        caller = Caller(url, log)
        assert caller.call(caller.address(stream(1))).status_code == 404
        caller.close()


def test_the_port_of_the_scheme_may_be_signed_or_not(
    dependencies: ApiDependencies, log: Log, clock: Clock
) -> None:
    public = "https://tidings.example.com/behind"
    callbacks = Callbacks(public, {"smtp": TOKEN})
    notification = tell(log, clock, *SENT)
    with serving(lambda _: create_app(replace(dependencies, callbacks=callbacks))) as url:
        caller = Caller(url, log)
        for form, host in ((FORM, "tidings.example.com"), (UNDELIVERED, "tidings.example.com:443")):
            address = caller.address(notification)
            told_twilio = address.replace(url, public.replace("tidings.example.com", host))
            signature = RequestValidator(TOKEN).compute_signature(told_twilio, form)
            assert caller.post(address, form, signature).status_code == 204
        caller.close()
    assert len(feedback(log, notification)) == 2


# --- junk -----------------------------------------------------------------------------------------

JUNK: list[tuple[bytes, dict[str, str], int]] = [
    (b"", {}, 403),
    (b"\xff\xfe\x00", {}, 403),
    (b"MessageStatus", {}, 403),
    (b"&&&=", {}, 403),
    (b"a=1&" * 200, {}, 403),
    (b"MessageStatus=%FF%ED%A0%80", {}, 403),
    (b"x" * (MOST_BYTES + 1), {}, 413),
    (b"{}", {"Content-Type": "application/json"}, 415),
    (b"a=1", {"Content-Type": ""}, 415),
    (b"a=1", {"Content-Encoding": "gzip"}, 415),
]


def test_junk_is_refused_and_never_a_fault_of_ours(
    twilio: Caller, log: Log, clock: Clock, subtests: pytest.Subtests
) -> None:
    notification = tell(log, clock, *SENT)
    for body, more, status in JUNK:
        with subtests.test(body=body[:30], more=more):
            headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": "x"} | more
            answer = twilio.send(twilio.address(notification), content=body, headers=headers)
            assert answer.status_code == status
    assert feedback(log, notification) == []


@pytest.mark.parametrize(
    "change",
    [{"MessageStatus": "", "SmsStatus": ""}, {"MessageStatus": "teleported"}, {"MessageStatus": "\0"}],
)
def test_a_signed_report_that_says_nothing_is_passed_over(
    twilio: Caller, log: Log, clock: Clock, change: dict[str, str]
) -> None:
    notification = tell(log, clock, *SENT)
    assert twilio.call(twilio.address(notification), FORM | change).status_code == 204
    assert feedback(log, notification) == []


def test_what_is_no_code_and_no_sid_is_left_out(twilio: Caller, log: Log, clock: Clock) -> None:
    notification = tell(log, clock, *SENT)
    form = UNDELIVERED | {"ErrorCode": "call +491701234567", "MessageSid": "ada@example.com"}
    assert twilio.call(twilio.address(notification), form).status_code == 204
    last = read_stream(log, notification)[-1].fact
    assert isinstance(last, FeedbackReceived)
    assert (last.code, last.error, last.provider_message_id) == ("", "", "")


# --- what becomes of it ---------------------------------------------------------------------------


def test_each_status_is_recorded_once_however_often_and_in_whatever_order_it_comes(
    twilio: Caller, log: Log, clock: Clock
) -> None:
    notification = tell(log, clock, *SENT)
    address = twilio.address(notification)
    other = UNDELIVERED | {"ErrorCode": "30007"}
    on_its_way = FORM | {"MessageStatus": "sent"}
    for form in (UNDELIVERED, FORM, UNDELIVERED, other, FORM, on_its_way, on_its_way):
        assert twilio.call(address, form).status_code == 204
    assert feedback(log, notification) == [
        ("undelivered", "30005"),
        ("delivered", ""),
        ("undelivered", "30007"),
    ]
    assert told(log, notification).count("NotificationSent") == 1


@pytest.mark.parametrize("form", [FORM, FORM | {"MessageStatus": "queued"}])
def test_a_parked_notification_is_sent_when_twilio_has_it_and_written_back_once(
    twilio: Caller, log: Log, clock: Clock, form: dict[str, str]
) -> None:
    notification = tell(log, clock, *PARKED)
    before = Story(log, clock).source_types("user/1")
    for _ in range(2):
        assert twilio.call(twilio.address(notification), form).status_code == 204
    assert told(log, notification)[-2:] == ["FeedbackReceived", "NotificationSent"]
    assert len(Story(log, clock).source_types("user/1")) == len(before) + 1
    assert Story(log, clock).count("due_notifications") == 0


def test_reports_at_the_same_time_are_each_recorded_once_and_end_it_once(
    twilio: Caller, log: Log, clock: Clock
) -> None:
    notification = tell(log, clock, *PARKED)
    address = twilio.address(notification)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda form: twilio.call(address, form), [FORM, UNDELIVERED] * 8))
    assert {answer.status_code for answer in answers} == {204}
    names = told(log, notification)
    assert sorted(feedback(log, notification)) == [("delivered", ""), ("undelivered", "30005")]
    assert names.count("NotificationSent") + names.count("NotificationCancelled") == 1


def test_a_parked_notification_is_rejected_when_the_network_refused_it(
    twilio: Caller, log: Log, clock: Clock, make_key: Any
) -> None:
    notification = tell(log, clock, *PARKED)
    assert twilio.call(twilio.address(notification), UNDELIVERED).status_code == 204
    headers = {"Authorization": f"Bearer {make_key('admin')}"}
    with httpx2.Client(base_url=twilio.url, headers=headers) as client:
        shown = client.get(f"/v1/notifications/{notification}").json()
    assert (shown["state"], shown["reason"]) == ("cancelled", "rejected")
    heard, ended = shown["timeline"][-2:]
    assert {name: heard[name] for name in ("type", "status", "standing", "code", "attempt", "provider")} == {
        "type": "notification.feedback.received",
        "status": "undelivered",
        "standing": "failed",
        "code": "30005",
        "attempt": 1,
        "provider": "smtp",
    }
    assert ended["error"] == "undelivered 30005 the number is unknown or in service no more"
    assert "+4917" not in str(shown)


def test_a_report_in_transmission_leaves_the_ending_to_the_answer(
    twilio: Caller, log: Log, clock: Clock
) -> None:
    notification = tell(log, clock, *TRANSMITTING)
    assert twilio.call(twilio.address(notification)).status_code == 204
    assert told(log, notification)[-2:] == ["TransmissionStarted", "FeedbackReceived"]


def test_an_earlier_cycle_does_not_end_a_later_one(twilio: Caller, log: Log, clock: Clock) -> None:
    again = ResendRequested(reason="asked", not_before=clock.now, expires_at=clock.now)
    notification = tell(log, clock, *SENT, again)
    assert twilio.call(twilio.address(notification)).status_code == 204
    assert told(log, notification)[-2:] == ["ResendRequested", "FeedbackReceived"]


def test_what_a_newer_version_wrote_is_left_alone(
    twilio: Caller, log: Log, clock: Clock, conninfo: str
) -> None:
    notification = tell(log, clock, *SENT)
    with psycopg.connect(conninfo) as connection:
        connection.execute("UPDATE events SET topic = 'notification.new' WHERE originator_version = 4")
    assert twilio.call(twilio.address(notification)).status_code == 204
    assert len(read_stream(log, notification)) == 4


def test_nothing_personal_and_no_secret_is_logged_or_answered(
    twilio: Caller, log: Log, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    notification = tell(log, clock, *SENT)
    address = twilio.address(notification)
    answers = [
        twilio.call(address),
        twilio.post(address, FORM, "forged"),
        twilio.send(address, json=FORM),
        twilio.call(address + "x"),
    ]
    # The client's own lines aside; the server's process writes no access log.
    others = ("http", "uvicorn", "asyncio")
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith(others)]
    for text in (*ours, *(answer.text for answer in answers)):
        assert not [word for word in (FORM["To"], TOKEN, str(notification), address[-40:]) if word in text]
