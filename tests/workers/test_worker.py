"""From a due notification to a message that the sandbox has accepted, and back into the log."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from event_log.envelope import SourceEvent
from event_log.log import read_stream
from notification_domain.identity import stream_id
from notification_domain.notification import Sent
from notification_domain.notification_events import (
    NotificationCancelled,
    NotificationSent,
    Reason,
    RetryRequested,
)
from tests.story import ORIGIN
from tests.workers.conftest import Office, notification_of, until
from tests.workers.gates import Gate

DELIVERED = ["NotificationRequested", "AttemptStarted", "TransmissionStarted", "NotificationSent"]


@pytest.mark.parity("S1.15", "S5.e", "CHN-7")
async def test_a_code_is_delivered_with_a_link_to_the_events_origin(office: Office) -> None:
    office.story.add_user(display_name="Ann Öst", preferred_language="en")
    office.story.ask_for_code(code="K7XQ2M")
    await office.deliver()
    (mail,) = await office.messages()
    assert mail["to"] == ["ann@example.com"]
    assert "K7XQ2M" in mail["text"]
    assert "K7XQ2M" in mail["html"]
    assert f"{ORIGIN}/ui/login/mail/verification?" in mail["text"]
    assert "Ann Öst" in mail["text"]
    assert mail["headers"]["From"] == ['"Tidings" <no-reply@tidings.example>']
    assert mail["headers"]["To"] == ["ann@example.com"]
    assert mail["headers"]["Message-ID"] == [f"<{office.only()}.1@tidings.example>"]
    assert mail["subject"]


@pytest.mark.parity("S6.4")
async def test_what_was_done_stands_in_the_log_in_order(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    await office.deliver()
    assert office.topics() == DELIVERED
    sent = office.last()
    assert isinstance(sent, NotificationSent)
    assert (sent.attempt, sent.provider) == (1, "sandbox")
    assert sent.reply.startswith("250 2.0.0 Ok")
    assert sent.template_version
    assert sent.text_version
    assert isinstance(office.story.state(office.only()), Sent)


async def test_nothing_is_left_to_do_when_it_was_sent(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    await office.deliver()
    assert office.story.count("due_notifications") == 0
    assert office.story.count("secrets") == 0


@pytest.mark.parity("S1.7", "WRK-11")
async def test_the_sending_is_written_back_to_the_source_stream_with_its_cause(office: Office) -> None:
    office.story.add_user(organisation_id="org-1")
    office.story.ask_for_code()
    await office.deliver()
    written = read_stream(office.log, stream_id("acme", "user/ann"))[-1]
    assert written.topic == "user.human.email.code.sent"
    assert written.version == 3
    assert isinstance(written.fact, SourceEvent)
    assert written.fact.data == {
        "cause": {"version": 2, "notification_id": str(office.only())},
        "organisation_id": "org-1",
    }
    assert written.fact.source == "tidings"


async def test_the_write_back_asks_for_nothing_new(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    await office.deliver()
    assert office.story.handle() > 0
    assert len(office.story.decisions()) == 1
    assert office.story.count("quarantined_events") == 0


async def test_a_late_write_back_does_not_silence_a_newer_code(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code(code="OLDER")
    office.story.handle()
    gate = Gate(after=True)
    async with office.working(office.routes(gate.wrap)):
        await gate.reached.wait()
        office.story.ask_for_code(code="NEWER")
        office.story.handle()
        gate.open.set()
        await until(lambda: not office.busy())
    assert sorted("NEWER" in mail["text"] for mail in await office.messages()) == [False, True]
    assert office.topics(notification_of("3")) == DELIVERED


@pytest.mark.parametrize(
    ("event_type", "written"),
    [
        ("user.human.password.changed", "user.human.password.change.sent"),
        ("user.domain.claimed", "user.domain.claimed.sent"),
        ("user.human.invite.code.added", "user.human.invite.code.sent"),
        ("user.human.initialization.code.added", "user.human.initialization.code.sent"),
    ],
)
async def test_each_kind_of_mail_is_written_back_as_its_own_type(
    office: Office, event_type: str, written: str
) -> None:
    office.story.add_user()
    code: dict[str, Any] = {"code": "K7XQ2M", "expiry": 3600} if ".code." in event_type else {}
    office.story.tell(event_type, trigger_origin=ORIGIN, user_name="ann@temp.example", **code)
    await office.deliver()
    assert len(await office.messages(channel="email")) == 1
    assert office.story.source_types()[-1] == written


async def test_a_passkeys_write_back_names_its_code(office: Office) -> None:
    office.story.add_user()
    office.story.tell("user.human.email.verified")
    kind = "user.human.passwordless.initialization.code"
    office.story.tell(f"{kind}.requested", id="key-1", code="ABCDEF", expiry=3600, trigger_origin=ORIGIN)
    await office.deliver()
    written = read_stream(office.log, stream_id("acme", "user/ann"))[-1]
    assert isinstance(written.fact, SourceEvent)
    assert (written.topic, written.fact.data["id"]) == (f"{kind}.sent", "key-1")


@pytest.mark.parity("S1.7")
async def test_a_sessions_one_time_password_goes_to_the_sessions_user(office: Office) -> None:
    office.story.add_user()
    office.story.tell("user.human.email.verified")
    office.story.tell("session.user.checked", "session/s1", userID="ann")
    office.story.tell(
        "session.otp.email.challenged", "session/s1", code="87654321", expiry=300, trigger_origin=ORIGIN
    )
    await office.deliver()
    (mail,) = await office.messages()
    assert mail["to"] == ["ann@example.com"]
    assert "87654321" in mail["text"]
    assert office.story.source_types("session/s1")[-1] == "session.otp.email.sent"


@pytest.mark.parametrize("batch", [1, 500])
async def test_a_session_that_learns_its_user_later_gets_its_one_time_password(
    office: Office, batch: int
) -> None:
    office.story.add_user()
    office.story.tell("user.human.email.verified")
    office.story.tell(
        "session.otp.email.challenged", "session/s1", code="87654321", expiry=300, trigger_origin=ORIGIN
    )
    await office.deliver()
    office.story.tell("session.user.checked", "session/s1", userID="ann")
    office.story.handle(batch=batch)
    office.clock.move(seconds=30)
    await office.deliver()
    (mail,) = await office.messages()
    assert mail["to"] == ["ann@example.com"]


@pytest.mark.parity("S5.1")
async def test_a_code_by_text_message_is_delivered_through_twilio(office: Office) -> None:
    office.story.add_user()
    office.story.tell("user.human.phone.code.added", code="R4F9", expiry=3600, trigger_origin=ORIGIN)
    await office.deliver()
    (text,) = await office.messages()
    assert (text["channel"], text["to"]) == ("sms", ["+41791234567"])
    assert "R4F9" in text["text"]
    sent = office.last()
    assert isinstance(sent, NotificationSent)
    assert sent.provider_message_id.startswith("SM")
    assert office.story.source_types()[-1] == "user.human.phone.code.sent"


async def test_a_one_time_password_by_text_message_can_be_filled_in_by_the_browser(office: Office) -> None:
    office.story.add_user()
    office.story.tell("user.human.phone.verified")
    office.story.tell("user.human.mfa.otp.sms.code.added", code="12345678", expiry=300, trigger_origin=ORIGIN)
    await office.deliver()
    (text,) = await office.messages()
    assert text["text"].splitlines()[-1] == "@login.acme.example #12345678"


@pytest.mark.parity("S1.13", "NOT-7", "WRK-3")
async def test_the_text_of_a_domain_claim_names_the_former_domain(office: Office) -> None:
    office.story.add_user(email="ann@verified.example")
    office.story.tell("user.human.email.verified")
    office.story.tell("user.human.email.changed", email="ann@former.example")
    office.story.tell("user.domain.claimed", user_name="ann@temp.example", trigger_origin=ORIGIN)
    await office.deliver()
    (mail,) = await office.messages()
    assert mail["to"] == ["ann@former.example"]
    assert "the domain former.example." in " ".join(mail["text"].split())
    assert "ann@temp.example" in mail["text"]


async def test_everything_is_delivered_once_when_much_is_due(office: Office) -> None:
    for number in range(40):
        office.story.add_user(f"u{number}")
        office.story.ask_for_code(f"u{number}", code=f"CODE{number}")
    await office.deliver(claim_batch=7, in_flight=10)
    mails = await office.messages(limit="100")
    assert Counter(mail["to"][0] for mail in mails) == {f"u{number}@example.com": 1 for number in range(40)}
    assert office.story.count("secrets") == 0


async def test_everything_is_delivered_once_when_two_workers_share_the_work(office: Office) -> None:
    for number in range(40):
        office.story.add_user(f"u{number}")
        office.story.ask_for_code(f"u{number}")
    office.story.handle()
    async with office.working(claim_batch=5), office.working(claim_batch=5):
        await until(lambda: not office.busy())
    mails = await office.messages(limit="100")
    assert Counter(mail["to"][0] for mail in mails) == {f"u{number}@example.com": 1 for number in range(40)}


async def test_instances_take_turns_when_one_has_a_backlog(office: Office) -> None:
    for number in range(12):
        office.story.tell(
            "user.human.added", f"user/{number}", instance="aaa", email=f"u{number}@aaa.example"
        )
        office.story.tell(
            "user.human.email.code.added",
            f"user/{number}",
            instance="aaa",
            code="MANY",
            expiry=3600,
            trigger_origin=ORIGIN,
        )
    office.story.add_user("ann")
    office.story.ask_for_code("ann")
    await office.deliver(claim_batch=1, in_flight=1)
    places = [mail["to"][0] for mail in await office.messages()]
    assert places.index("ann@example.com") <= 2


# --- what must not, or cannot yet, be sent --------------------------------------------------------


@pytest.mark.parity("S1.6", "S1.13", "S1.18", "WRK-1", "WRK-9")
async def test_nothing_is_sent_when_the_time_is_over(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code(expiry=600)
    office.story.handle()
    office.clock.move(minutes=11)
    await office.deliver()
    assert await office.messages() == []
    assert office.last() == NotificationCancelled(reason=Reason.EXPIRED)  # WRK-1
    assert office.story.count("secrets") == 0


async def test_nothing_is_sent_when_the_user_has_no_address(office: Office) -> None:
    office.story.add_user(email="")
    office.story.ask_for_code()
    await office.deliver()
    assert await office.messages() == []
    assert office.last().reason is Reason.NO_RECIPIENT


async def test_nothing_is_sent_when_the_address_must_be_verified_and_is_not(office: Office) -> None:
    office.story.add_user()
    office.story.tell("user.human.mfa.otp.email.code.added", code="123", expiry=300, trigger_origin=ORIGIN)
    await office.deliver()
    assert office.last().reason is Reason.NO_RECIPIENT


@pytest.mark.parity("WRK-3")
async def test_the_verified_address_stays_good_while_a_new_one_is_not_verified(office: Office) -> None:
    office.story.add_user()
    office.story.tell("user.human.email.verified")
    office.story.tell("user.human.email.changed", email="new@example.com")
    office.story.tell("user.human.mfa.otp.email.code.added", code="123", expiry=300, trigger_origin=ORIGIN)
    await office.deliver()
    (mail,) = await office.messages()
    assert mail["to"] == ["ann@example.com"]


async def test_nothing_is_sent_when_nobody_knows_an_origin(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code(trigger_origin="")
    await office.deliver()
    assert await office.messages() == []
    assert office.last().reason is Reason.NO_ORIGIN


async def test_nothing_is_sent_when_the_events_template_is_broken(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code(url_template="https://x.example/{{.Nonsense}}")
    await office.deliver()
    assert await office.messages() == []
    assert office.last().reason is Reason.TEMPLATE_ERROR


@pytest.mark.parity("S1.13", "S2.8")
async def test_a_message_waits_for_its_user_and_goes_out_when_the_user_comes(office: Office) -> None:
    office.story.ask_for_code()
    await office.deliver()
    waiting = office.last()
    assert isinstance(waiting, RetryRequested)
    assert (waiting.stage, waiting.counts) == ("recipient", False)
    office.story.add_user()
    office.story.handle()
    office.clock.move(seconds=30)  # less than the backoff
    await office.deliver()
    assert [mail["to"] for mail in await office.messages()] == [["ann@example.com"]]
    assert office.topics()[-1] == "NotificationSent"


async def test_a_message_is_given_up_when_its_user_never_comes(office: Office) -> None:
    office.story.ask_for_code(expiry=600)
    await office.deliver()
    office.clock.move(minutes=11)
    await office.deliver()
    assert office.last() == NotificationCancelled(reason=Reason.NO_RECIPIENT)


@pytest.mark.parity("CHN-1")
async def test_a_message_waits_for_a_provider_and_is_given_up_when_none_comes(office: Office) -> None:
    office.story.add_user()
    office.story.tell("user.human.phone.code.added", code="R4F9", expiry=600, trigger_origin=ORIGIN)
    office.story.handle()
    mail_only = {"email": office.routes()["email"]}
    async with office.working(mail_only) as worker:
        worker.wake()
        office.story.ask_for_code()
        office.story.handle()
        await until(lambda: office.story.count("due_notifications") == 1)
    assert office.topics(office.story.decisions()[0].id) == ["NotificationRequested"]
    office.clock.move(minutes=11)
    await office.deliver(mail_only)
    assert office.last(office.story.decisions()[0].id).reason is Reason.NO_PROVIDER


async def test_a_code_that_was_made_elsewhere_waits_for_a_verification_service(office: Office) -> None:
    office.story.add_user()
    office.story.tell("user.human.phone.code.added", generator_id="verify-1", trigger_origin=ORIGIN)
    await office.deliver()
    assert office.last().stage == "provider"
    assert await office.messages() == []


async def test_a_request_without_its_code_is_given_up(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    with office.log.database.connection() as connection:
        connection.execute("DELETE FROM secrets")
    await office.deliver()
    assert (office.last().reason, office.last().error) == (Reason.EXPIRED, "the code is no longer kept")


async def test_the_time_of_a_retry_is_kept_by_the_clock_that_was_given(office: Office) -> None:
    office.story.ask_for_code()
    await office.deliver()
    assert office.last().not_before >= office.clock.now + timedelta(seconds=60)
