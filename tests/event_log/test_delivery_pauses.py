"""What is paused is not claimed, expiry runs on, and resuming wakes whoever waits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest

from event_log import due_queue
from event_log.delivery_pauses import EVERYWHERE, pause, pauses, resume
from event_log.due_queue import NEVER, DueRow
from event_log.log import Log
from event_log.wakeups import Wakeups
from tests.claims import claim
from tests.conftest import Clock
from tests.event_log.waiting import wait_until
from tests.swept import swept_database

Claimed = Callable[[], list[tuple[str, str]]]


@pytest.fixture
def conninfo(server: str, template: str) -> str:
    return swept_database(server, template)


@pytest.fixture
def claimed(log: Log, clock: Clock) -> Claimed:
    """Instance and channel of what a worker gets now; it gives it back."""

    def take() -> list[tuple[str, str]]:
        with log.database.connection() as connection:
            cursor = connection.cursor()
            claims = claim(cursor, clock())
            due_queue.release(cursor, [(one.notification, one.token) for one in claims])
            cursor.execute("SELECT notification_id, channel FROM due_notifications")
            channels = dict(cursor.fetchall())
        return sorted((one.instance, channels[one.notification]) for one in claims)

    return take


@pytest.fixture(autouse=True)
def work(log: Log, clock: Clock) -> None:
    """An e-mail and a text message for each of two instances, due now."""
    rows = [
        DueRow(
            notification=uuid4(),
            instance=instance,
            channel=channel,
            priority=0,
            not_before=clock(),
            expires_at=clock() + timedelta(hours=1),
            cause_stream=uuid4(),
            cause_version=1,
            supersede_key="rule",
        )
        for instance in ("acme", "other")
        for channel in ("email", "sms")
    ]
    with log.appending() as append:
        due_queue.put(append.cursor, rows)


ALL = [("acme", "email"), ("acme", "sms"), ("other", "email"), ("other", "sms")]


@pytest.mark.parametrize(
    ("instance", "channel", "left"),
    [
        ("acme", "email", [("acme", "sms"), ("other", "email"), ("other", "sms")]),
        ("acme", "", [("other", "email"), ("other", "sms")]),
        (EVERYWHERE, "email", [("acme", "sms"), ("other", "sms")]),
        (EVERYWHERE, "", []),
        ("acme", "webhook", ALL),
        ("nobody", "", ALL),
    ],
)
def test_what_is_paused_is_not_claimed_until_it_is_resumed(
    log: Log, claimed: Claimed, instance: str, channel: str, left: list[tuple[str, str]]
) -> None:
    assert claimed() == ALL
    assert pause(log, instance, channel, "maintenance", "key-1")
    assert claimed() == left
    assert resume(log, instance, channel, "done", "key-1")
    assert claimed() == ALL


def test_pauses_add_up_and_end_one_by_one(log: Log, claimed: Claimed) -> None:
    pause(log, "acme", "", "audit", "key-1")
    pause(log, "acme", "sms", "number blocked", "key-1")
    pause(log, EVERYWHERE, "sms", "provider down", "key-2")
    resume(log, "acme", "", "audit over", "key-1")
    assert claimed() == [("acme", "email"), ("other", "email")]
    resume(log, EVERYWHERE, "sms", "provider is back", "key-2")
    assert claimed() == [("acme", "email"), ("other", "email"), ("other", "sms")]


def test_expiry_runs_on_while_delivery_is_paused(log: Log, clock: Clock, claimed: Claimed) -> None:
    pause(log, EVERYWHERE, "", "maintenance", "key-1")
    clock.move(minutes=59)
    assert claimed() == []
    clock.move(minutes=1)
    assert claimed() == ALL


def test_what_is_parked_waits_for_a_person_even_when_it_has_expired(
    log: Log, clock: Clock, claimed: Claimed
) -> None:
    with log.database.connection() as connection:
        connection.execute("UPDATE due_notifications SET not_before = %s, due_at = %s", (NEVER, NEVER))
    pause(log, EVERYWHERE, "", "maintenance", "key-1")
    clock.move(days=9)
    assert claimed() == []


@pytest.mark.parity("S5.14")
def test_pausing_twice_is_recorded_once(log: Log) -> None:
    assert pause(log, "acme", "email", "first", "key-1")
    assert not pause(log, "acme", "email", "second", "key-2")
    assert [one.reason for one in pauses(log, "acme")] == ["first"]
    assert resume(log, "acme", "email", "over", "key-1")
    assert not resume(log, "acme", "email", "over", "key-1")
    with log.database.connection() as connection:
        found = connection.execute("SELECT topic FROM events ORDER BY 1").fetchall()
    assert found == [("tidings.delivery.paused",), ("tidings.delivery.resumed",)]


def test_the_standing_pauses_say_who_why_and_since_when(log: Log) -> None:
    pause(log, EVERYWHERE, "", "the data centre moves", "key-1")
    pause(log, "acme", "sms", "number blocked", "key-2")
    pause(log, "other", "sms", "none of acme's business", "key-3")
    found = pauses(log, "acme")
    assert [(one.instance, one.channel, one.reason, one.by) for one in found] == [
        ("", "", "the data centre moves", "key-1"),
        ("acme", "sms", "number blocked", "key-2"),
    ]
    assert found[0].since <= found[1].since
    assert found[0].position < found[1].position


def test_whoever_waits_for_due_work_is_woken_by_a_resume(log: Log) -> None:
    pause(log, "acme", "", "maintenance", "key-1")
    woken: list[str] = []
    wakeups = Wakeups(log.database.conninfo)
    wakeups.subscribe("due", call=lambda: woken.append("due"))
    wakeups.start()
    try:
        wait_until(lambda: len(woken) == 1)  # at the beginning everybody is
        resume(log, "acme", "", "done", "key-1")
        wait_until(lambda: len(woken) == 2)
    finally:
        wakeups.close()
