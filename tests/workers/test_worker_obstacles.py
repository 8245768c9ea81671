"""At the point of no return: what has happened since the message was prepared."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from notification_domain.notification_events import NotificationCancelled, Reason
from tests.story import ORIGIN, Story
from tests.workers.conftest import Office, notification_of
from tests.workers.gates import held_at_the_point_of_no_return

Turn = Callable[[Story], object]


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
    "the user's organisation was removed": (
        lambda story: story.tell("org.removed", "organisation/org-1"),
        Reason.USER_INACTIVE,
    ),
    "the instance was removed": (
        lambda story: story.tell("instance.removed", "instance"),
        Reason.USER_INACTIVE,
    ),
}


@pytest.mark.parametrize(("turn", "reason"), TURNS.values(), ids=TURNS)
@pytest.mark.parity("S1.c", "S1.d")
async def test_nothing_is_sent_when_meanwhile(office: Office, turn: Turn, reason: Reason) -> None:
    """The handler has not even seen it: the log itself is asked."""
    office.story.tell("org.added", "organisation/org-1", name="Acme")
    office.story.add_user(organisation_id="org-1")
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
    "another organisation was removed": lambda story: story.tell("org.removed", "organisation/org-2"),
    "the organisation was deactivated": lambda story: story.tell("org.deactivated", "organisation/org-1"),
    "another instance was removed": lambda story: story.tell(
        "instance.removed", "instance", instance="other"
    ),
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
    office.story.add_user(organisation_id="org-1")
    office.story.ask_for_code()
    async with held_at_the_point_of_no_return(office):
        turn(office.story)
    assert len(await office.messages()) == 1


async def test_nothing_is_sent_after_a_failure_when_the_organisation_was_removed(office: Office) -> None:
    """What the handler has learned meanwhile is as good as what the log tells."""
    office.story.tell("org.added", "organisation/org-1", name="Acme")
    office.story.add_user(organisation_id="org-1")
    office.story.ask_for_code()
    await office.web.set_fault("email", "rcpt", "refuse", code=451)
    await office.deliver()
    office.story.tell("org.removed", "organisation/org-1")
    office.clock.move(minutes=2)
    await office.deliver()
    assert await office.messages() == []
    assert office.last().reason is Reason.USER_INACTIVE


@pytest.mark.parity("S1.d")
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
