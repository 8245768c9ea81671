"""From a text message to Twilio's word on it: worker, sandbox and API on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from api.app import create_app
from api.dependencies import ApiDependencies, Callbacks
from event_log.callbacks import TWILIO_PATH, Reference
from event_log.due_queue import Claim
from event_log.feedback import Report, hear
from event_log.intake import Intake
from notification_domain.backoff import RetryPolicy
from notification_domain.notification import Command, RecordOutcome, StartAttempt, StartTransmission
from notification_domain.notification_events import FeedbackReceived, Standing
from notification_domain.outcomes import Unknown
from tests.serving import serving
from tests.story import ORIGIN
from tests.workers.conftest import SENDER, Office, until
from tests.workers.gates import Gate
from workers.channels.port import Channel
from workers.channels.twilio_sms import TwilioChannel, TwilioSettings
from workers.loading import load
from workers.recording import Advanced, Step, advance
from workers.routes import Route

TOKEN = "token"


@pytest.fixture
def callbacks(office: Office) -> Iterator[str]:
    """Where an API that knows the sandbox's account is called back."""
    intake = Intake(office.log)

    def build(url: str) -> Any:
        dependencies = ApiDependencies(
            database=office.log.database,
            log=office.log,
            intake=intake,
            clock=office.clock,
            cursor_key=b"c" * 32,
            callbacks=Callbacks(url, {"sandbox": TOKEN}),
        )
        return create_app(dependencies)

    with serving(build) as url:
        yield f"{url}{TWILIO_PATH}"
    intake.close()


def routes(office: Office, callback: str, gate: Gate | None = None) -> dict[str, Route]:
    settings = TwilioSettings(
        "ACsandbox",
        TOKEN,
        "+15005550006",
        base_url=office.base_url,
        timeout=2.0,
        status_callback=callback,
    )
    channel: Channel = TwilioChannel(settings, provider="sandbox")
    return {"sms": Route(gate.wrap(channel) if gate else channel, SENDER)}


def ask_by_sms(office: Office, phone: str = "+41791234567") -> None:
    office.story.add_user(phone=phone)
    office.story.tell("user.human.phone.verified")
    code: dict[str, Any] = {"code": "12345678", "expiry": 3600, "trigger_origin": ORIGIN}
    office.story.tell("user.human.mfa.otp.sms.code.added", **code)


def heard(office: Office) -> list[tuple[str, str]]:
    facts = office.story.facts(office.only())
    return [(fact.status, fact.code) for fact in facts if isinstance(fact, FeedbackReceived)]


async def test_a_delivery_is_reported_beside_the_ending(office: Office, callbacks: str) -> None:
    ask_by_sms(office)
    await office.deliver(routes(office, callbacks))
    await until(lambda: heard(office) == [("delivered", "")])
    assert office.topics()[-2:] == ["NotificationSent", "FeedbackReceived"]
    assert len(await office.messages(channel="sms")) == 1


async def test_a_failure_on_the_way_is_reported_with_its_code(office: Office, callbacks: str) -> None:
    ask_by_sms(office, "+150055530005")
    await office.deliver(routes(office, callbacks))
    await until(lambda: heard(office) == [("undelivered", "30005")])
    assert office.topics().count("NotificationSent") == 1
    assert "NotificationCancelled" not in office.topics()


async def test_a_lost_answer_is_made_up_for_by_the_callback_and_nothing_is_sent_twice(
    office: Office, callbacks: str
) -> None:
    ask_by_sms(office)
    office.story.handle()
    await office.web.set_fault("sms", "reply", "disconnect")
    gate = Gate(after=True)
    async with office.working(routes(office, callbacks, gate)):
        await gate.reached.wait()
        # The answer is lost; Twilio's word comes before the worker tells of that.
        await until(lambda: len(heard(office)) == 2)
        assert office.topics()[-1] == "FeedbackReceived"
        gate.open.set()
        await until(lambda: office.story.count("due_notifications") == 0)
    assert office.topics()[-1] == "NotificationSent"
    assert (office.last().provider_message_id[:2], office.last().reply) == ("SM", "callback: delivered")
    assert len(await office.messages(channel="sms")) == 1
    assert office.story.source_types()[-1] == "user.human.mfa.otp.sms.code.sent"


async def test_a_doubt_that_waits_for_a_second_attempt_is_ended_by_the_callback(
    office: Office, callbacks: str
) -> None:
    ask_by_sms(office)
    office.story.handle()
    await office.web.set_fault("sms", "reply", "disconnect")
    # Without a pool for retries the second attempt never begins.
    async with office.working(routes(office, callbacks), retry_in_flight=0):
        await until(lambda: office.story.count("due_notifications") == 0)
    assert office.topics()[-3:] == ["OutcomeUnknown", "FeedbackReceived", "NotificationSent"]
    office.clock.move(hours=1)
    await office.deliver(routes(office, callbacks))
    assert len(await office.messages(channel="sms")) == 1


async def test_a_second_attempt_that_is_about_to_transmit_is_given_up_when_the_first_arrived(
    office: Office, callbacks: str
) -> None:
    ask_by_sms(office)
    office.story.handle()
    (claim,) = office.claim()
    tell_of_a_lost_attempt(office, claim)
    reference = Reference(office.only(), 1)
    gate = Gate()
    async with office.working(routes(office, callbacks, gate)):
        await gate.reached.wait()
        assert office.topics()[-2:] == ["OutcomeUnknown", "AttemptStarted"]
        report = Report("delivered", Standing.DELIVERED)
        await asyncio.to_thread(hear, office.log, reference, report)
        gate.open.set()
    assert office.topics()[-2:] == ["FeedbackReceived", "NotificationSent"]
    assert office.last().attempt == 1
    assert await office.messages(channel="sms") == []


def tell_of_a_lost_attempt(office: Office, claim: Claim) -> None:
    """A first attempt that transmitted and was never heard of again."""
    (loaded,) = load(office.log, [claim])
    commands: list[Command] = [
        StartAttempt(office.clock(), claim.token, "sandbox"),
        StartTransmission(office.clock()),
        RecordOutcome(
            at=office.clock(), outcome=Unknown("request", "lost"), policy=RetryPolicy(), jitter=0.0
        ),
    ]
    subject = loaded.subject
    for command in commands:
        (answer,) = advance(office.log, [Step(subject, command)], office.clock)
        assert isinstance(answer, Advanced)
        subject = replace(subject, held=answer.held)


async def test_nothing_is_asked_for_without_an_address(office: Office) -> None:
    ask_by_sms(office)
    await office.deliver(routes(office, ""))
    assert office.topics()[-1] == "NotificationSent"
    assert heard(office) == []
