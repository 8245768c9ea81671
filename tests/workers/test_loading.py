"""What a worker reads after a claim, and what it leaves alone."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import psycopg
import pytest

from notification_domain.notification_events import Reason
from tests.conftest import Clock
from tests.workers.conftest import Office, notification_of, until
from workers.left_alone import LeftAlone
from workers.loading import load


def rewrite(conninfo: str, notification: UUID, statement: str) -> None:
    """As the owner: the role a worker runs as may not."""
    with psycopg.connect(conninfo) as connection:
        connection.execute(f"{statement} WHERE originator_id = %s".encode(), (notification,))


def tell_two(office: Office) -> tuple[UUID, UUID]:
    for user in ("ann", "bob"):
        office.story.add_user(user)
        office.story.ask_for_code(user)
    office.story.handle()
    return notification_of("2"), notification_of("4")


@pytest.mark.parity("S1.12", "S5.4")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET topic = 'notification.forwarded'",
        "UPDATE events SET state = set_byte(state, length(state) - 1, 0)",
        "UPDATE events SET state = ''",
    ],
    ids=["written by newer code", "damaged", "emptied"],
)
async def test_a_stream_that_cannot_be_read_is_left_alone_and_the_others_are_sent(
    office: Office, conninfo: str, statement: str
) -> None:
    unreadable, readable = tell_two(office)
    rewrite(conninfo, unreadable, statement)
    assert [one.held.notification for one in load(office.log, office.claim())] == [readable]
    office.lose_leases()
    async with office.working():
        await until(lambda: office.topics(readable)[-1] == "NotificationSent")
    assert [mail["to"] for mail in await office.messages()] == [["bob@example.com"]]
    assert office.story.count("due_notifications") == 1


async def test_what_is_left_alone_is_given_back_at_once_and_costs_it_no_claim(
    office: Office, conninfo: str, caplog: pytest.LogCaptureFixture
) -> None:
    unreadable, readable = tell_two(office)
    rewrite(conninfo, unreadable, "UPDATE events SET topic = 'notification.forwarded'")
    # One pool: another's claim that has begun before would look at it once more.
    async with office.working(lease=timedelta(minutes=10), in_flight=5, retry_in_flight=0):
        await until(lambda: office.topics(readable)[-1] == "NotificationSent")
        await until(lambda: "is left alone" in caplog.text)
        await until(lambda: office.story.rows("due_notifications", "lease_token, claims") == [(None, 0)])
    assert [(claim.notification, claim.lost_claims) for claim in office.claim()] == [(unreadable, 0)]
    assert caplog.text.count("is left alone") == 1


def test_no_more_is_remembered_than_there_is_room_for_and_not_for_ever(clock: Clock) -> None:
    left_alone = LeftAlone(clock, most=2)
    leases = [(UUID(int=number), number) for number in range(3)]
    assert left_alone.take(leases) == (leases[:2], leases[2:])
    assert left_alone.notifications() == [UUID(int=0), UUID(int=1)]
    clock.move(minutes=11)
    assert left_alone.notifications() == []
    assert left_alone.take(leases[2:]) == (leases[2:], [])


async def test_nothing_is_read_for_no_claims(office: Office) -> None:
    assert load(office.log, []) == []


async def test_everything_about_a_claim_is_read_at_once(office: Office) -> None:
    office.story.tell("instance.default.language.set", "instance", language="de")
    office.story.tell("org.added", "organisation/org-1", name="Acme")
    office.story.add_user(organisation_id="org-1")
    office.story.ask_for_code(code="K7XQ2M")
    office.story.handle()
    (one,) = load(office.log, office.claim())
    assert one.code == "K7XQ2M"
    assert one.recipient.known
    assert one.recipient.user.last_email == "ann@example.com"
    assert one.recipient.organisation.name == "Acme"
    assert one.recipient.instance.default_language == "de"
    assert (one.lost_claims, one.obstacle) == (0, None)


async def test_what_stands_against_it_is_read_with_it(office: Office) -> None:
    tell_two(office)
    office.story.tell("user.locked", "user/bob")
    loaded = {one.held.notification: one.obstacle for one in load(office.log, office.claim())}
    assert loaded == {notification_of("2"): None, notification_of("4"): Reason.USER_INACTIVE}


async def test_a_damaged_row_holds_back_its_own_message_and_no_other(office: Office, conninfo: str) -> None:
    held_back, sent = tell_two(office)
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            "UPDATE recipients SET sealed = set_byte(sealed, 40, 0) WHERE subject = 'user/ann'"
        )
    await office.deliver()
    assert office.topics(sent)[-1] == "NotificationSent"
    assert office.topics(held_back) == ["NotificationRequested", "RetryRequested"]
    assert office.last(held_back).stage == "recipient"
    assert "rebuild recipients" in office.last(held_back).error
