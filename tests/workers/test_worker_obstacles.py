"""At the point of no return: what has happened since the message was prepared."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import psycopg
import pytest

from notification_domain.notification_events import NotificationCancelled, Reason
from notification_domain.policies import Deployment
from projections.redrive import redrive
from tests.story import ORIGIN, Story
from tests.workers.conftest import Office, notification_of, until
from tests.workers.gates import Gate

Turn = Callable[[Story], object]


@asynccontextmanager
async def held_at_the_point_of_no_return(office: Office) -> AsyncIterator[Gate]:
    """A worker has everything ready; it asks whether it may transmit when the block ends."""
    gate = Gate()
    office.story.handle()
    async with office.working(office.routes(gate.wrap)):
        await gate.reached.wait()
        yield gate
        gate.open.set()
        await until(lambda: not office.busy())


def newer_code(story: Story) -> None:
    story.tell("user.human.email.code.added", code="NEWER", expiry=3600, trigger_origin=ORIGIN)


TURNS: dict[str, tuple[Turn, Reason]] = {
    "a newer code": (newer_code, Reason.SUPERSEDED),
    "a newer code under its old name": (
        lambda story: story.tell("user.email.code.added", code="NEWER"),
        Reason.SUPERSEDED,
    ),
    "the code was used": (lambda story: story.tell("user.human.email.verified"), Reason.CODE_USED),
    "it was sent by another service": (
        lambda story: story.tell("user.human.email.code.sent"),
        Reason.SUPERSEDED,
    ),
    "the user was locked": (lambda story: story.tell("user.locked"), Reason.USER_INACTIVE),
    "the user was deactivated": (lambda story: story.tell("user.deactivated"), Reason.USER_INACTIVE),
    "the user was removed": (lambda story: story.tell("user.removed"), Reason.USER_INACTIVE),
}


@pytest.mark.parametrize(("turn", "reason"), TURNS.values(), ids=TURNS)
async def test_nothing_is_sent_when_meanwhile(office: Office, turn: Turn, reason: Reason) -> None:
    """The handler has not even seen it: the log itself is asked."""
    office.story.add_user()
    office.story.ask_for_code()
    async with held_at_the_point_of_no_return(office):
        turn(office.story)
    assert await office.messages() == []
    assert office.last() == NotificationCancelled(reason=reason, attempt=1)
    assert office.topics() == ["NotificationRequested", "AttemptStarted", "NotificationCancelled"]


OTHER_TURNS: dict[str, Turn] = {
    "another message was asked for": lambda story: story.tell("user.human.phone.code.added", code="X"),
    "it was another user": lambda story: story.tell("user.locked", "user/bob"),
    "it was another instance": lambda story: story.tell("user.locked", instance="other"),
    "the user was locked and unlocked": lambda story: [
        story.tell("user.locked"),
        story.tell("user.unlocked"),
    ],
    "another message was sent": lambda story: story.tell("user.human.phone.code.sent"),
    "an older one was sent": lambda story: story.tell("user.human.email.code.sent", cause={"version": 1}),
    "the profile changed": lambda story: story.tell("user.human.profile.changed", first_name="Anna"),
}


@pytest.mark.parametrize("turn", OTHER_TURNS.values(), ids=OTHER_TURNS)
async def test_it_is_sent_all_the_same_when_meanwhile(office: Office, turn: Turn) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    async with held_at_the_point_of_no_return(office):
        turn(office.story)
    assert len(await office.messages()) == 1


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


async def test_nothing_is_sent_when_the_time_ran_out_meanwhile(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code(expiry=60)
    async with held_at_the_point_of_no_return(office):
        office.clock.move(seconds=62)
    assert await office.messages() == []
    assert office.last().reason is Reason.EXPIRED


async def test_the_newer_code_goes_out_alone_when_it_overtakes(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code(code="OLDER")
    async with held_at_the_point_of_no_return(office):
        newer_code(office.story)
    await office.deliver()
    (mail,) = await office.messages()
    assert "NEWER" in mail["text"]


async def test_a_waiting_code_is_cancelled_at_once_when_a_newer_one_comes(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code(code="OLDER")
    await office.web.set_fault("email", "rcpt", "refuse", code=451)
    await office.deliver()
    newer_code(office.story)
    office.story.handle()
    office.clock.move(seconds=30)  # less than the backoff
    await office.deliver()
    (mail,) = await office.messages()
    assert "NEWER" in mail["text"]
    assert office.last(notification_of("2")).reason is Reason.SUPERSEDED


async def test_a_waiting_code_is_cancelled_at_once_when_it_was_used(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    await office.web.set_fault("email", "rcpt", "refuse", code=451)
    await office.deliver()
    office.story.tell("user.human.email.verified")
    office.story.handle()
    office.clock.move(seconds=30)
    await office.deliver()
    assert await office.messages() == []
    assert office.last().reason is Reason.CODE_USED


async def test_a_locked_user_is_told_of_a_changed_password_and_a_removed_one_is_not(office: Office) -> None:
    for user, event_type in (("ann", "user.locked"), ("bob", "user.removed")):
        office.story.add_user(user)
        office.story.tell("user.human.password.changed", f"user/{user}", trigger_origin=ORIGIN)
        office.story.handle()
        office.story.tell(event_type, f"user/{user}")
    await office.deliver()
    assert [mail["to"] for mail in await office.messages()] == [["ann@example.com"]]
    assert office.last(notification_of("5", "user.human.password.changed")).reason is Reason.USER_INACTIVE


async def test_a_one_time_password_is_pointless_when_its_session_has_ended(office: Office) -> None:
    office.story.add_user()
    office.story.tell("user.human.email.verified")
    office.story.tell("session.user.checked", "session/s1", userID="ann")
    office.story.tell(
        "session.otp.email.challenged", "session/s1", code="1234", expiry=300, trigger_origin=ORIGIN
    )
    async with held_at_the_point_of_no_return(office):
        office.story.tell("session.terminated", "session/s1")
    assert await office.messages() == []
    assert office.last().reason is Reason.SUPERSEDED


async def test_an_answered_one_time_password_is_pointless(office: Office) -> None:
    office.story.add_user()
    office.story.tell("user.human.phone.verified")
    office.story.tell("session.user.checked", "session/s1", userID="ann")
    office.story.tell(
        "session.otp.sms.challenged", "session/s1", code="1234", expiry=300, trigger_origin=ORIGIN
    )
    async with held_at_the_point_of_no_return(office):
        office.story.tell("session.otp.sms.checked", "session/s1")
    assert office.last().reason is Reason.CODE_USED


async def test_a_sessions_message_is_not_sent_when_its_user_is_locked_meanwhile(office: Office) -> None:
    office.story.add_user()
    office.story.tell("user.human.email.verified")
    office.story.tell("session.user.checked", "session/s1", userID="ann")
    office.story.tell(
        "session.otp.email.challenged", "session/s1", code="1234", expiry=300, trigger_origin=ORIGIN
    )
    async with held_at_the_point_of_no_return(office):
        office.story.tell("user.locked")
    assert await office.messages() == []
    assert office.last().reason is Reason.USER_INACTIVE


async def test_only_the_same_passkeys_use_stops_its_message(office: Office) -> None:
    office.story.add_user()
    office.story.tell("user.human.email.verified")
    kind = "user.human.passwordless.initialization.code"
    for key in ("one", "two"):
        office.story.tell(f"{kind}.requested", id=key, code=f"CODE{key}", expiry=300, trigger_origin=ORIGIN)
    office.story.handle()
    office.story.tell(f"{kind}.check.succeeded", id="one")
    await office.deliver()
    (mail,) = await office.messages()
    assert "CODEtwo" in mail["text"]


async def test_the_clock_of_the_worker_decides_what_has_expired(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code(expiry=60)
    office.story.handle()
    office.clock.now -= timedelta(seconds=30)
    with office.log.database.connection() as connection:
        connection.execute("UPDATE due_notifications SET due_at = %s", (office.clock.now,))
    await office.deliver()
    assert len(await office.messages()) == 1
