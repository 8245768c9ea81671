from __future__ import annotations

import os

import psycopg
import pytest
from msgspec.structs import replace

from event_log.deployment_key import DeploymentKey
from event_log.errors import LostRace, UnknownTopic
from event_log.log import Log, head
from event_log.mapper import LogMapper
from event_log.topics import TOPICS
from notification_domain.give_ups import GiveUp, Kind
from notification_domain.notification_events import NotificationCancelled, Reason
from projections import give_ups
from projections.rebuild import REBUILDABLE, rebuild
from tests.conftest import Clock
from tests.projections.histories import PARKED, REJECTED, RETRIED, SENT, requested, stream, write

SUPERSEDED = NotificationCancelled(reason=Reason.SUPERSEDED)


def log_end(log: Log) -> int:
    with log.database.connection() as connection:
        return head(connection.cursor())[0]


def all_ahead(log: Log, window: int) -> list[tuple[int, GiveUp | None]]:
    """Position and content of every report, each told as soon as it is found."""
    found = []
    while (ahead := give_ups.ahead(log, window)).to > ahead.since:
        if ahead.report is None:
            give_ups.pass_over(log, ahead)
        else:
            found.append((ahead.report.position, ahead.report.what))
            give_ups.told(log, ahead)
    return found


@pytest.mark.parametrize("window", [1, 2, 3, 200])
def test_every_give_up_is_found_whatever_stands_between(log: Log, window: int) -> None:
    give_ups.begin(log)
    first = write(log, 1, [requested(1), *REJECTED])[-1]
    write(log, 2, [requested(2), *SENT])
    write(log, 3, [requested(3), *RETRIED, SUPERSEDED])
    parked = write(log, 4, [requested(4), *PARKED])[-1]
    assert all_ahead(log, window) == [
        (first, GiveUp(Kind.GIVEN_UP, "rejected", "rcpt")),
        (parked, GiveUp(Kind.PARKED, "outcome_unknown", "dot")),
    ]
    assert give_ups.ahead(log).since == log_end(log)


def test_the_place_begins_at_the_logs_end_once_and_for_ever(log: Log) -> None:
    write(log, 1, [requested(1), *REJECTED])
    give_ups.begin(log)
    assert give_ups.ahead(log) == give_ups.Ahead(log_end(log), log_end(log))
    write(log, 2, [requested(2), *REJECTED])
    give_ups.begin(log)
    report = give_ups.ahead(log).report
    assert report
    assert (report.notification, report.attempts) == (stream(2), 1)


def test_who_comes_late_does_not_move_the_place_back(log: Log) -> None:
    give_ups.begin(log)
    write(log, 1, [requested(1), *REJECTED])
    late = give_ups.ahead(log)
    give_ups.told(log, late)
    write(log, 2, [requested(2), *REJECTED])
    give_ups.told(log, give_ups.ahead(log))
    for move in (give_ups.told, give_ups.pass_over):
        with pytest.raises(LostRace):
            move(log, late)
    assert give_ups.ahead(log).since == log_end(log)


def test_a_give_up_in_a_shape_of_newer_code_is_left_to_it(log: Log, key: DeploymentKey) -> None:
    newer = Log(log.database, key, os.urandom)
    newer.mapper = LogMapper([replace(topic, schema=99) for topic in TOPICS])
    give_ups.begin(log)
    write(newer, 1, [requested(1), *REJECTED])
    with pytest.raises(UnknownTopic):
        give_ups.ahead(log)


def test_an_event_of_newer_code_is_left_to_it_when_it_might_be_a_give_up(log: Log, conninfo: str) -> None:
    give_ups.begin(log)
    write(log, 1, [requested(1), *SENT])
    with psycopg.connect(conninfo) as owner:
        owner.execute("UPDATE events SET topic = 'notification.lost' WHERE topic = 'notification.requested'")
    with pytest.raises(UnknownTopic):
        give_ups.ahead(log)


def test_no_rebuild_moves_the_place(log: Log, owning: Log) -> None:
    give_ups.begin(log)
    write(log, 1, [requested(1), *REJECTED])
    give_ups.told(log, give_ups.ahead(log))
    before = give_ups.ahead(log)
    for name in REBUILDABLE:
        rebuild(owning, name)
    assert give_ups.ahead(log) == before


def test_standing_tells_of_calls_that_fail_until_one_is_taken(log: Log, clock: Clock) -> None:
    with log.database.connection() as connection:
        assert give_ups.standing(connection, clock()) is None
    give_ups.begin(log)
    write(log, 1, [requested(1), *REJECTED])
    ahead = give_ups.ahead(log)
    for _ in range(2):
        give_ups.failed(log, ahead, clock())
        clock.move(seconds=30)
    with log.database.connection() as connection:
        assert give_ups.standing(connection, clock()) == give_ups.Standing(ahead.since, 0, 2, 60.0)
        give_ups.told(log, ahead)
        assert give_ups.standing(connection, clock()) == give_ups.Standing(ahead.to, 1, 0, 0.0)
