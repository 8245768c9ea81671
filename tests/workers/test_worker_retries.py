"""What a worker does with outcomes other than delivered."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from notification_domain.notification_events import (
    Aftermath,
    NotificationCancelled,
    OutcomeUnknown,
    Reason,
    RetryRequested,
)
from tests.story import ORIGIN
from tests.workers.conftest import Office

FOR_EVER = 1000


@pytest.mark.parity("S1.5", "WRK-4", "WRK-7", "S5.d", "S6.4", "S6.10")
async def test_a_temporary_refusal_is_tried_again_with_a_growing_backoff(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    await office.web.set_fault("email", "rcpt", "refuse", code=451, count=2)
    await office.deliver()
    first = office.last()
    assert isinstance(first, RetryRequested)  # WRK-4
    assert (first.attempt, first.stage, first.counts) == (1, "rcpt", True)
    assert first.error.startswith("451")
    assert first.backoff == 90.0  # the jitter of these tests is one half
    assert first.not_before == office.clock.now + timedelta(seconds=90)
    office.clock.move(seconds=91)
    await office.deliver()
    second = office.last()
    assert isinstance(second, RetryRequested)  # WRK-7
    assert (second.attempt, second.backoff) == (2, 135.0)
    office.clock.move(seconds=136)
    await office.deliver()
    assert office.topics()[-2:] == ["TransmissionStarted", "NotificationSent"]
    assert len(await office.messages()) == 1


@pytest.mark.parity("S1.5", "S1.14", "WRK-6", "S6.3")
async def test_nothing_happens_before_the_backoff_is_over(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    await office.web.set_fault("email", "rcpt", "refuse", code=451)
    await office.deliver()
    before = office.topics()
    office.clock.move(seconds=89)
    await office.deliver()
    assert office.topics() == before  # WRK-6
    assert await office.messages() == []


@pytest.mark.parity("S1.e", "S6.5", "CHN-2")
@pytest.mark.parametrize(
    ("stage", "action"), [("dot", "refuse"), ("data", "disconnect"), ("connect", "refuse")]
)
async def test_what_was_certainly_not_taken_is_tried_again(office: Office, stage: str, action: str) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    code = {"code": 451} if action == "refuse" else {}
    await office.web.set_fault("email", stage, action, **code)
    await office.deliver()
    assert isinstance(office.last(), RetryRequested)
    office.clock.move(minutes=2)
    await office.deliver()
    assert len(await office.messages()) == 1
    assert office.topics()[-1] == "NotificationSent"


@pytest.mark.parity("S1.4", "S1.14")
async def test_a_retry_goes_to_the_recipient_as_it_was(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    await office.web.set_fault("email", "rcpt", "refuse", code=451)
    await office.deliver()
    office.story.tell("user.human.email.changed", email="new@example.com")
    office.clock.move(minutes=2)
    await office.deliver()
    assert [mail["to"] for mail in await office.messages()] == [["ann@example.com"]]
    (retry,) = [fact for fact in office.story.facts(office.only()) if isinstance(fact, RetryRequested)]
    assert retry.recipient is not None
    assert retry.recipient.last_email == "ann@example.com"


@pytest.mark.parity("S1.6", "S1.14", "WRK-8", "S6.6")
async def test_the_attempts_of_a_message_end(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    await office.web.set_fault("email", "rcpt", "refuse", code=451, count=FOR_EVER)
    for _ in range(3):
        await office.deliver()
        office.clock.move(minutes=10)
    cancelled = office.last()
    assert isinstance(cancelled, NotificationCancelled)  # WRK-8
    assert (cancelled.reason, cancelled.attempt, cancelled.stage) == (Reason.ATTEMPTS_EXHAUSTED, 3, "rcpt")
    assert cancelled.error.startswith("451")
    assert office.topics().count("AttemptStarted") == 3
    assert office.story.count("due_notifications") == 0
    assert office.story.count("secrets") == 0


@pytest.mark.parity("S1.14", "WRK-5")
async def test_a_retry_is_given_up_when_the_time_is_over(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code(expiry=300)
    await office.web.set_fault("email", "rcpt", "refuse", code=451)
    await office.deliver()
    office.clock.move(minutes=6)
    await office.deliver()
    assert office.last().reason is Reason.EXPIRED  # WRK-5
    assert await office.messages() == []


@pytest.mark.parity("S1.18", "S1.e", "WRK-12", "S5.e", "S6.5", "S6.6")
@pytest.mark.parametrize("stage", ["rcpt", "dot"])
async def test_a_final_refusal_ends_the_message(office: Office, stage: str) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    await office.web.set_fault("email", stage, "refuse", code=550)
    await office.deliver()
    cancelled = office.last()
    assert isinstance(cancelled, NotificationCancelled)
    assert (cancelled.reason, cancelled.stage) == (Reason.REJECTED, stage)
    assert cancelled.error.startswith("550")
    assert office.story.source_types()[-1] == "user.human.email.code.added", "nothing is written back"
    assert office.story.count("secrets") == 0


async def test_a_providers_own_fault_uses_up_no_attempt(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    await office.web.set_fault("email", "ehlo", "refuse", code=550, count=FOR_EVER)
    for _ in range(4):
        await office.deliver()
        assert isinstance(office.last(), RetryRequested)
        assert office.last().counts is False
        office.clock.move(minutes=14)


async def test_the_wait_a_provider_asks_for_is_kept(office: Office) -> None:
    office.story.add_user()
    office.story.tell("user.human.phone.code.added", code="R4F9", expiry=3600, trigger_origin=ORIGIN)
    await office.web.set_fault("sms", "request", "refuse", code=429, retry_after=600)
    await office.deliver()
    retry = office.last()
    assert isinstance(retry, RetryRequested)
    assert retry.not_before == office.clock.now + timedelta(seconds=600)
    office.clock.move(seconds=601)
    await office.deliver()
    assert len(await office.messages()) == 1


# --- outcomes that nobody knows -------------------------------------------------------------------


async def _lose_the_answer(office: Office, **more: Any) -> None:
    await office.web.set_fault("email", "dot", "disconnect", **more)


async def test_a_code_is_sent_again_when_its_outcome_is_unknown_and_that_was_announced(
    office: Office,
) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    await _lose_the_answer(office)
    await office.deliver()
    assert office.topics() == [
        "NotificationRequested",
        "AttemptStarted",
        "TransmissionStarted",
        "OutcomeUnknown",
        "AttemptStarted",
        "TransmissionStarted",
        "NotificationSent",
    ]
    first, second = await office.messages()
    assert first["headers"]["Message-ID"] == second["headers"]["Message-ID"]
    assert "K7XQ2M" in first["text"]
    assert first["text"] == second["text"]


@pytest.mark.parity("S6.5")
async def test_the_doubt_says_what_was_lost_and_what_follows(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    await _lose_the_answer(office, accepted=False)
    await office.deliver()
    (doubt,) = [fact for fact in office.story.facts(office.only()) if isinstance(fact, OutcomeUnknown)]
    assert (doubt.attempt, doubt.stage, doubt.aftermath) == (1, "dot", Aftermath.RESEND)
    assert doubt.recipient is not None
    assert len(await office.messages()) == 1


async def test_a_code_waits_for_a_person_when_its_outcome_is_unknown_twice(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    await _lose_the_answer(office, count=2)
    await office.deliver()
    assert office.last().aftermath is Aftermath.PARK
    assert office.story.count("due_notifications") == 1
    assert office.story.count("secrets") == 1, "a parked one keeps its code"
    office.clock.move(days=30)
    await office.deliver()
    assert len(await office.messages()) == 2


async def test_a_code_about_to_expire_is_not_sent_again(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code(expiry=50)
    await _lose_the_answer(office)
    await office.deliver()
    assert office.topics()[-2:] == ["OutcomeUnknown", "NotificationCancelled"]
    assert office.last().reason is Reason.EXPIRED
    assert len(await office.messages()) == 1


async def test_an_invitation_waits_for_a_person_when_its_outcome_is_unknown(office: Office) -> None:
    office.story.add_user()
    office.story.tell("user.human.invite.code.added", code="WELCOME", expiry=3600, trigger_origin=ORIGIN)
    await _lose_the_answer(office)
    await office.deliver()
    assert office.last().aftermath is Aftermath.PARK
    assert len(await office.messages()) == 1


async def test_a_text_message_with_a_code_is_sent_again_when_the_answer_was_lost(office: Office) -> None:
    office.story.add_user()
    office.story.tell("user.human.phone.code.added", code="R4F9", expiry=3600, trigger_origin=ORIGIN)
    await office.web.set_fault("sms", "reply", "disconnect")
    await office.deliver()
    assert office.topics().count("OutcomeUnknown") == 1
    assert len(await office.messages()) == 2
    assert office.topics()[-1] == "NotificationSent"


async def test_every_second_transmission_was_announced(office: Office) -> None:
    """What arrived more often than it was sent is a subset of the doubts in the log."""
    for number in range(12):
        office.story.add_user(f"u{number}")
        office.story.ask_for_code(f"u{number}")
    await _lose_the_answer(office, count=5)
    await office.deliver()
    arrived = len(await office.messages(limit="100"))
    doubts = sum("OutcomeUnknown" in office.topics(decided.id) for decided in office.story.decisions())
    assert doubts == 5
    assert arrived <= 12 + doubts
