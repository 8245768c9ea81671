"""A notification whose stream holds an event nobody could digest waits: it is not sent on half a story."""

from __future__ import annotations

import psycopg

from notification_domain.notification_events import NotificationCancelled, Reason
from notification_domain.policies import Deployment
from projections.redrive import redrive
from tests.story import ORIGIN, Story
from tests.workers.conftest import Office
from tests.workers.gates import held_at_the_point_of_no_return


def poison(story: Story, subject: str = "user/ann") -> None:
    """An event that cannot be digested, so that its stream is frozen."""
    story.tell("user.human.phone.code.added", subject, expiry="soon")
    story.handle()


async def test_it_is_held_back_when_its_stream_was_frozen_meanwhile(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    async with held_at_the_point_of_no_return(office):
        poison(office.story)
    assert await office.messages() == []
    assert office.topics() == ["NotificationRequested", "AttemptStarted", "RetryRequested"]
    held_back = office.last()
    assert (held_back.stage, held_back.counts, held_back.recipient) == ("quarantine", False, None)
    assert "quarantine" in held_back.error
    assert held_back.not_before > office.clock()


async def test_it_is_held_back_by_what_nobody_can_read_before_the_handler_has_come_to_it(
    office: Office,
) -> None:
    office.story.add_user()
    office.story.tell("user.human.email.verified")
    link = "user.human.passwordless.initialization.code"
    office.story.tell(f"{link}.requested", code="X", id="a", expiry=3600, trigger_origin=ORIGIN)
    async with held_at_the_point_of_no_return(office):
        office.story.tell(f"{link}.sent", id="a", cause="soon")
    assert await office.messages() == []
    assert office.last().stage == "quarantine"


async def test_it_is_sent_all_the_same_when_the_stream_of_somebody_else_was_frozen(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    async with held_at_the_point_of_no_return(office):
        poison(office.story, "user/bob")
    assert len(await office.messages()) == 1


async def test_it_is_cancelled_when_a_frozen_stream_tells_that_the_code_was_used(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    async with held_at_the_point_of_no_return(office):
        poison(office.story)
        office.story.tell("user.human.email.verified")
    assert office.last() == NotificationCancelled(reason=Reason.CODE_USED, attempt=1)


async def test_nothing_is_attempted_while_the_stream_is_frozen_and_it_ends_with_its_time(
    office: Office,
) -> None:
    office.story.add_user()
    office.story.ask_for_code(expiry=1000)
    office.story.handle()
    poison(office.story)
    await office.deliver()
    assert office.topics() == ["NotificationRequested", "RetryRequested"]
    office.clock.move(seconds=1001)
    await office.deliver()
    assert office.topics() == ["NotificationRequested", "RetryRequested", "NotificationCancelled"]
    assert office.last().reason is Reason.EXPIRED


async def test_a_code_of_a_session_is_held_back_while_the_stream_of_its_user_is_frozen(
    office: Office,
) -> None:
    office.story.add_user()
    office.story.tell("user.human.email.verified")
    office.story.tell("session.user.checked", "session/s1", user_id="ann")
    challenge = {"code": "123456", "expiry": 300, "trigger_origin": ORIGIN}
    office.story.tell("session.otp.email.challenged", "session/s1", **challenge)
    office.story.handle()
    poison(office.story)
    await office.deliver()
    assert await office.messages() == []
    assert office.last().stage == "quarantine"


async def test_what_was_held_back_goes_out_at_once_when_its_stream_is_redriven(
    office: Office, conninfo: str
) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    position = office.story.tell("user.human.email.changed", email="new@example.com").position
    flip_last_byte(conninfo, position)
    await office.deliver()
    assert office.last().stage == "quarantine"
    flip_last_byte(conninfo, position)
    redriven = redrive(office.log, position, "acme", office.clock, Deployment())
    assert redriven is not None
    assert redriven.remaining == []
    await office.deliver()
    (mail,) = await office.messages()
    assert mail["to"] == ["new@example.com"]


def flip_last_byte(conninfo: str, position: int) -> None:
    """Damage an event, or heal it again."""
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            "UPDATE events SET state = set_byte(state, length(state) - 1,"
            " 255 - get_byte(state, length(state) - 1)) WHERE notification_id = %s",
            (position,),
        )
