"""Events that cannot be digested: set aside with the reason, their stream frozen, everybody else served."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest

from event_log.log import Log
from notification_domain.identity import stream_id
from tests.conftest import Clock
from tests.story import Story
from tests.swept import swept_database

ANN = stream_id("acme", "user/ann")
Damage = Callable[[bytes], bytes]


@pytest.fixture
def conninfo(server: str, template: str) -> str:
    return swept_database(server, template)


@pytest.fixture
def story(log: Log, clock: Clock) -> Story:
    return Story(log, clock)


def damage(conninfo: str, position: int, how: Damage) -> None:
    """Only the owner can: the role we run as may not rewrite anything."""
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(
            "SELECT state FROM events WHERE notification_id = %s", (position,)
        ).fetchone()
        assert row
        connection.execute(
            "UPDATE events SET state = %s WHERE notification_id = %s", (how(bytes(row[0])), position)
        )


def flip(state: bytes) -> bytes:
    return state[:-1] + bytes((state[-1] ^ 1,))


def quarantined(story: Story) -> list[tuple[int, UUID, str]]:
    return [tuple(row) for row in story.rows("quarantined_events", "position, stream_id, reason")]


def requested_for(story: Story) -> list[str]:
    return [decided.fact.user_id for decided in story.decisions()]


@pytest.mark.parametrize(
    "how",
    [
        flip,
        lambda state: state[:20],
        lambda state: bytes(len(state)),
        lambda _: b"",
        lambda _: b"\x09",
    ],
    ids=["flipped", "truncated", "zeroed", "emptied", "of no known format"],
)
@pytest.mark.parametrize("batch", [1, 500])
@pytest.mark.parity("S2.a")
def test_a_damaged_event_is_set_aside_and_the_others_go_on(
    story: Story, conninfo: str, how: Damage, batch: int
) -> None:
    story.ask_for_code("bob")
    bad = story.ask_for_code("ann")
    story.ask_for_code("cleo")
    damage(conninfo, bad.position, how)
    assert story.handle(batch=batch) >= 3
    assert requested_for(story) == ["bob", "cleo"]
    ((position, stream, reason),) = quarantined(story)
    assert (position, stream) == (bad.position, ANN)
    assert reason.startswith("Undecodable: user.human.email.code.added")


def test_two_swapped_bodies_are_both_set_aside(story: Story, conninfo: str) -> None:
    one, other = story.ask_for_code("ann"), story.ask_for_code("bob")
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            "UPDATE events a SET state = b.state FROM events b WHERE a.topic = b.topic AND a <> b"
        )
    story.handle()
    assert story.decisions() == []
    assert [position for position, _, _ in quarantined(story)] == [one.position, other.position]


@pytest.mark.parametrize("batch", [1, 500])
def test_later_events_of_a_frozen_stream_wait_and_earlier_ones_stand(
    story: Story, conninfo: str, batch: int
) -> None:
    story.tell("user.human.phone.code.added", code="EARLY", expiry=60)
    bad = story.tell("user.human.profile.changed", first_name="Anna")
    later = story.ask_for_code()
    damage(conninfo, bad.position, flip)
    story.handle(batch=batch)
    assert [decided.fact.rule for decided in story.decisions()] == ["user.human.phone.code.added"]
    assert [(position, reason[:19]) for position, _, reason in quarantined(story)] == [
        (bad.position, "Undecodable: user.h"),
        (later.position, "an earlier event of"),
    ]


@pytest.mark.parametrize(
    ("event_type", "data"),
    [
        ("user.human.email.code.added", {"code": "X", "expiry": "soon"}),
        ("user.human.email.code.added", {"code": "X", "expiry": -1}),
        ("user.human.email.code.added", {"code": "X", "expiry": 10**30}),
        ("user.human.email.changed", {}),
        ("user.username.changed", {}),
        ("user.human.invite.code.added", {"trigger_origin": ["https://a"], "code": "X"}),
        ("user.human.email.verified", {"organisation_id": 5}),
        ("user.human.password.changed", {"organisation_id": {"deep": "no"}}),
    ],
)
def test_an_event_that_was_never_validated_is_set_aside_and_the_others_go_on(
    story: Story, event_type: str, data: dict[str, Any]
) -> None:
    story.ask_for_code("bob")
    bad = story.tell(event_type, "user/ann", **data)
    story.ask_for_code("cleo")
    story.handle()
    assert requested_for(story) == ["bob", "cleo"]
    assert [position for position, _, _ in quarantined(story)] == [bad.position]


def test_a_session_event_that_was_never_validated_is_set_aside_too(story: Story) -> None:
    bad = story.tell("session.user.checked", "session/s1")
    story.ask_for_code("bob")
    story.handle()
    assert requested_for(story) == ["bob"]
    assert [position for position, _, _ in quarantined(story)] == [bad.position]


def test_the_events_of_an_erased_person_are_set_aside_and_the_others_go_on(
    story: Story, conninfo: str
) -> None:
    story.add_user("ann")
    story.add_user("bob")
    with psycopg.connect(conninfo) as connection:
        connection.execute("DELETE FROM subject_keys WHERE subject = 'user/ann'")
    story.ask_for_code("bob")
    story.handle()
    assert requested_for(story) == ["bob"]
    ((_, _, reason),) = quarantined(story)
    assert "key was destroyed" in reason


def test_reading_goes_on_when_a_damaged_event_of_ours_stands_in_the_way(story: Story, conninfo: str) -> None:
    """The handler passes over what we wrote ourselves without looking into it."""
    story.ask_for_code("ann")
    story.handle()
    (decided,) = story.events(ours=True)
    damage(conninfo, decided.position, flip)
    story.ask_for_code("bob")
    story.handle()
    assert quarantined(story) == []
    assert story.count("due_notifications") == 2


# --- what was known of somebody is damaged ----------------------------------------------------------


def damage_row(conninfo: str, subject: str) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            "UPDATE recipients SET sealed = set_byte(sealed, length(sealed) - 1,"
            " 255 - get_byte(sealed, length(sealed) - 1)) WHERE subject = %s",
            (subject,),
        )


def test_what_only_tells_of_a_sending_goes_on_when_the_row_of_its_user_is_damaged(
    story: Story, conninfo: str
) -> None:
    story.add_user()
    story.handle()
    damage_row(conninfo, "user/ann")
    story.tell("user.human.email.code.sent", "user/ann")
    story.handle()
    assert quarantined(story) == []


@pytest.mark.parametrize("damaged", ["user/ann", "organisation/org-1"])
def test_a_damaged_row_sets_aside_what_concerns_it_and_nothing_else(
    story: Story, conninfo: str, damaged: str
) -> None:
    story.tell("org.added", "organisation/org-1", name="Acme")
    story.add_user(organisation_id="org-1")
    story.add_user("bob")
    story.tell("session.user.checked", "session/s1", user_id="ann")
    story.handle()
    damage_row(conninfo, damaged)
    story.ask_for_code()
    story.ask_for_code("bob")
    story.tell("session.otp.email.challenged", "session/s1", code="123456", expiry=300)
    story.handle()
    assert requested_for(story) == ["bob"]
    assert [reason for _, _, reason in quarantined(story)] == [
        f"Undecodable: the row of {damaged} in recipients was altered: rebuild recipients"
    ] * 2
