"""Whose turn it is, and how long what a look has found is gone by."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from event_log import due_queue
from event_log.due_queue import Claim, DueRow, Place, Wanted, new_token, shares
from event_log.log import Log
from tests.conftest import Clock
from workers.active_instances import ActiveInstances
from workers.round import Round, after

CODE, INVITATION = 0, 2


class Slow:
    """A clock on which every look takes a while."""

    def __init__(self, clock: Clock, look: float = 0.0) -> None:
        self._clock = clock
        self.look = look

    def __call__(self) -> datetime:
        self._clock.move(seconds=self.look)
        return self._clock()


class Desk:
    def __init__(self, log: Log, clock: Clock, look: float = 0.0) -> None:
        self.log = log
        self.clock = clock
        self.time = Slow(clock, look)
        self.round = Round(ActiveInstances(0, timedelta(), self.time), self.time)

    def put(self, instance: str, rows: int = 1, **changes: Any) -> None:
        given = {
            "instance": instance,
            "channel": "email",
            "priority": CODE,
            "not_before": self.clock.now - timedelta(hours=1),
            "expires_at": self.clock.now + timedelta(hours=1),
            "cause_version": 1,
            "supersede_key": "rule",
        } | changes
        with self.log.appending() as append:
            due_queue.put(
                append.cursor,
                [DueRow(notification=uuid4(), cause_stream=uuid4(), **given) for _ in range(rows)],
            )

    def claim(self, limit: int = 4, **wanted: Any) -> list[Claim]:
        asked = Wanted(
            now=self.clock.now,
            limit=limit,
            lease=timedelta(minutes=5),
            token=new_token(os.urandom),
            **({"channels": ("email",)} | wanted),
        )
        with self.log.database.connection() as connection:
            return self.round.take(connection.cursor(binary=True), asked)

    def served(self, **wanted: Any) -> Counter[str]:
        return Counter(claim.instance for claim in self.claim(**wanted))


@pytest.fixture
def desk(log: Log, clock: Clock) -> Desk:
    """Looks take no time: there is one before each claim."""
    return Desk(log, clock)


@pytest.fixture
def slow(log: Log, clock: Clock) -> Desk:
    """A look takes two seconds: the next is minutes away as long as somebody waits."""
    return Desk(log, clock, look=1.0)


def test_everybody_has_a_turn_however_large_a_backlog_is(desk: Desk) -> None:
    desk.put("big", 20)
    desk.put("small")
    assert desk.served() == {"big": 2, "small": 1}
    assert desk.served() == {"big": 4}


def test_who_has_more_goes_behind_the_others_and_takes_what_they_leave(slow: Desk) -> None:
    slow.put("big", 20)
    slow.put("small", 3)
    slow.put("tiny", 2)
    assert slow.served() == {"big": 2, "small": 2}
    assert slow.served() == {"tiny": 2, "big": 2}
    assert slow.served() == {"small": 1, "big": 3}
    assert slow.served() == {"big": 4}


def test_a_queue_is_emptied_though_it_was_looked_at_once_only(slow: Desk) -> None:
    for number in range(9):
        slow.put(f"i{number}", 3)
    served: Counter[str] = Counter()
    while claims := slow.served():
        served += claims
    assert set(served.values()) == {3}
    assert len(served) == 9


def test_codes_go_first_as_long_as_there_are_any(slow: Desk) -> None:
    slow.put("big", 3, priority=INVITATION)
    slow.put("big", 6)
    slow.put("small", 1, priority=INVITATION)
    assert slow.served() == {"big": 4}
    assert slow.served(limit=3) == {"big": 3}
    assert slow.served() == {"big": 2, "small": 1}


def test_a_claim_tells_whether_a_look_has_left_anything_behind(desk: Desk) -> None:
    desk.put("big", 5)
    desk.put("small")
    left = []
    while desk.claim():
        left.append(desk.round.may_have_more)
    assert left == [True, False]
    assert not desk.round.may_have_more


def test_what_is_taken_alone_leaves_the_others_behind(desk: Desk, conninfo: str) -> None:
    desk.put("big", not_before=desk.clock.now - timedelta(hours=2))
    with psycopg.connect(conninfo) as owner:
        owner.execute("UPDATE due_notifications SET claims = 2")
    desk.put("big", 2)
    left = []
    while claims := desk.claim():
        left.append((len(claims), desk.round.may_have_more))
    assert left == [(1, True), (2, False)]


def test_what_falls_due_meanwhile_waits_for_the_next_look(slow: Desk) -> None:
    slow.put("big", 20)
    slow.claim()
    slow.put("new")
    assert slow.served() == {"big": 4}
    slow.clock.move(seconds=400)
    assert slow.served() == {"big": 3, "new": 1}


def test_a_short_look_comes_before_each_claim(log: Log, clock: Clock) -> None:
    quick = Desk(log, clock, look=0.0009)
    quick.put("big", 20)
    quick.claim()
    quick.put("new")
    assert quick.served() == {"big": 3, "new": 1}


def test_one_look_that_took_long_by_chance_puts_none_off(log: Log, clock: Clock) -> None:
    desk = Desk(log, clock)
    desk.put("big", 20)
    desk.claim()
    desk.time.look = 1.0
    desk.claim()
    desk.put("new")
    assert desk.served() == {"big": 3, "new": 1}


def test_it_is_looked_again_at_once_when_nobody_is_known_to_wait(slow: Desk) -> None:
    slow.put("old")
    assert slow.served() == {"old": 1}
    slow.put("new")
    assert slow.served() == {"new": 1}
    assert slow.served() == {}


def test_what_others_have_taken_since_the_look_is_no_end(slow: Desk, log: Log) -> None:
    slow.put("a", 4)
    slow.put("b", 4)
    slow.claim(limit=2)
    with log.database.connection() as connection:
        connection.execute(
            "UPDATE due_notifications SET lease_until = clock_timestamp() + interval '1 min'"
            " WHERE lease_until IS NULL"
        )
    slow.put("c")
    assert slow.served() == {"c": 1}


def test_a_claim_goes_on_where_the_last_one_ended(slow: Desk) -> None:
    slow.put("big", 8)
    slow.claim()
    slow.put("big", 1, not_before=slow.clock.now - timedelta(hours=2))
    assert len(slow.claim()) == 4
    assert [claim.due_at.hour for claim in slow.claim()] == [(slow.clock.now - timedelta(hours=2)).hour]


def test_what_may_kill_its_worker_stops_nobody(slow: Desk, log: Log) -> None:
    slow.put("big", 3)
    with log.database.connection() as connection:
        connection.execute("UPDATE due_notifications SET claims = 2")
    assert [len(slow.claim()) for _ in range(4)] == [1, 1, 1, 0]


def test_what_expired_where_nobody_sends_has_its_share(desk: Desk) -> None:
    desk.put("big", 20)
    desk.put("big", 20, channel="push", expires_at=desk.clock.now)
    assert [len(desk.claim()) for _ in range(10)] == [4] * 10
    assert desk.claim() == []


def test_a_pause_holds_at_once_also_for_what_was_seen_before(slow: Desk, conninfo: str) -> None:
    slow.put("big", 20)
    slow.claim()
    with psycopg.connect(conninfo) as owner:
        owner.execute("INSERT INTO delivery_pauses VALUES ('big', '', 1)")
    assert slow.claim() == []


# --- shares ---------------------------------------------------------------------------------------


def _places(*priorities: int) -> list[Place]:
    return [
        Place(f"i{number}", one, False, datetime.max.replace(tzinfo=UTC))
        for number, one in enumerate(priorities)
    ]


@pytest.mark.parametrize(
    ("priorities", "limit", "expected"),
    [
        ((0,), 100, [100]),
        ((0, 0), 100, [50, 100]),
        ((0, 0, 0), 4, [2, 2, 4]),
        ((0, 2, 2), 100, [100, 50, 100]),
        ((0,) * 9, 100, [13] * 8 + [100]),
        ((0,) * 9, 3, [1] * 8 + [3]),
    ],
)
def test_a_claim_is_shared_equally_but_by_a_few_at_a_time(
    priorities: Sequence[int], limit: int, expected: Sequence[int]
) -> None:
    assert shares(_places(*priorities), limit) == expected


def _taken(*places: int) -> list[Claim]:
    return [Claim(uuid4(), "i", 1, 0, place) for place in places]


def test_who_gave_less_than_its_share_has_no_more() -> None:
    untouched, served = after(_places(0, 0, 0), _taken(0, 2), 6)
    assert (untouched, served) == ([], [])


def test_who_comes_after_a_full_claim_keeps_its_turn() -> None:
    asked = _places(0, 0, 0, 0)
    untouched, served = after(asked, _taken(0, 1, 1), 3)
    assert untouched == asked[2:]
    assert [place.instance for place in served] == ["i0", "i1"]
