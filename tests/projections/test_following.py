from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.rows import TupleRow

from event_log.database import Database
from event_log.deployment_key import DeploymentKey
from event_log.envelope import RecordedEvent
from event_log.errors import LogUnavailable, LostRace
from event_log.log import Log
from notification_domain.policies import Deployment
from projections.following import BATCH, Follower, trailing_round
from projections.handler import NAME, handle_batch
from tests.conftest import Clock
from tests.event_log.waiting import wait_until
from tests.story import Story
from tests.swept import swept_database


@pytest.fixture
def conninfo(server: str, template: str) -> str:
    return swept_database(server, template)


class Rounds:
    """Counts rounds; each of ``left`` finds something to do, ``failing`` makes rounds raise it."""

    def __init__(self, left: int = 0) -> None:
        self.taken = 0
        self.left = left
        self.failing: list[Exception] = []

    def __call__(self) -> int:
        self.taken += 1
        if self.failing:
            raise self.failing.pop()
        self.left = max(self.left - 1, 0)
        return self.left


class Running:
    def __init__(self, follower: Follower, leading: threading.Event) -> None:
        self.follower = follower
        self.leading = leading


@contextmanager
def following(
    database: Database,
    take_round: Callable[[], int],
    *,
    poll: float = 0.05,
    gather: float = 0.0,
    name: str = "test",
) -> Iterator[Running]:
    leading, stopped = threading.Event(), threading.Event()
    follower = Follower(database, name, take_round, poll=poll, gather=gather, leads=leading.set)
    thread = threading.Thread(target=follower.run, args=(stopped,))
    thread.start()
    try:
        yield Running(follower, leading)
    finally:
        stopped.set()
        follower.wake()
        thread.join(10)
        assert not thread.is_alive()


def cut_all_connections(conninfo: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_rounds_are_taken_until_nothing_is_left(database: Database) -> None:
    rounds = Rounds(left=5)
    with following(database, rounds, poll=60):
        wait_until(lambda: rounds.left == 0)
        assert rounds.taken == 5


def test_rounds_come_apart_while_there_is_always_something_and_at_once_after_a_pause(
    database: Database,
) -> None:
    rounds = Rounds(left=4)
    with following(database, rounds, poll=60, gather=0.2) as running:
        began = time.monotonic()
        wait_until(lambda: rounds.taken == 4)
        assert time.monotonic() - began > 0.5, "three rests"
        rounds.left = 2
        running.follower.wake()
        wait_until(lambda: rounds.taken == 5, within=0.15)


def test_full_rounds_follow_each_other_without_a_rest(database: Database) -> None:
    left = [BATCH, BATCH, BATCH, 0]
    with following(database, lambda: left.pop(0) if left else 0, poll=60, gather=60):
        wait_until(lambda: not left)


def test_it_looks_again_when_woken(database: Database) -> None:
    rounds = Rounds()
    with following(database, rounds, poll=60) as running:
        wait_until(lambda: rounds.taken == 1)
        running.follower.wake()
        wait_until(lambda: rounds.taken == 2)


def test_it_looks_again_after_a_while_when_no_wake_up_comes(database: Database) -> None:
    rounds = Rounds()
    with following(database, rounds, poll=0.01):
        wait_until(lambda: rounds.taken >= 3)


@pytest.mark.parametrize("error", [LogUnavailable("away"), LostRace("another was faster"), KeyError("a bug")])
def test_it_leads_again_when_a_round_failed(database: Database, error: Exception) -> None:
    """Its leadership must not stay behind, in a connection that lies unused in the pool."""
    rounds = Rounds()
    rounds.failing = [error]
    with following(database, rounds) as running:
        wait_until(lambda: rounds.taken >= 3, within=5)
        assert running.follower.failures == 1


@pytest.mark.parity("S3.6")
def test_one_leads_and_the_other_takes_over_when_its_connection_dies(
    database: Database, conninfo: str
) -> None:
    first, second, other = Rounds(), Rounds(), Database(conninfo)
    other.open()
    try:
        with following(database, first) as leader:
            assert leader.leading.wait(5)
            with following(other, second) as standby:
                wait_until(lambda: first.taken > 3)
                assert second.taken == 0
                assert not standby.leading.is_set()
                _cut_the_leader(conninfo)
                assert standby.leading.wait(5)
    finally:
        other.close()


def _cut_the_leader(conninfo: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        )


def test_another_takes_over_when_the_leader_stops(database: Database, conninfo: str) -> None:
    first, second, other = Rounds(), Rounds(), Database(conninfo)
    other.open()
    try:
        with following(database, first) as leader:
            assert leader.leading.wait(5)
        with following(other, second) as heir:
            assert heir.leading.wait(5)
            wait_until(lambda: second.taken > 0)
    finally:
        other.close()


def test_followers_of_different_projections_do_not_stand_in_each_others_way(database: Database) -> None:
    one, another = Rounds(), Rounds()
    with following(database, one, name="one"), following(database, another, name="another"):
        wait_until(lambda: one.taken > 0 and another.taken > 0)


def test_stopping_ends_one_that_stands_by(database: Database) -> None:
    with following(database, Rounds()) as leader:
        assert leader.leading.wait(5)
        began = time.monotonic()
        with following(database, Rounds(), poll=60):
            pass
        assert time.monotonic() - began < 10


@pytest.mark.timeout(30)
def test_the_handler_goes_on_when_all_connections_were_cut(
    log: Log, database: Database, conninfo: str, clock: Clock, key: DeploymentKey
) -> None:
    writers = Database(conninfo)
    story = Story(Log(writers, key, os.urandom), clock)
    with following(database, lambda: handle_batch(log, clock, Deployment()), name=NAME):
        for number in range(3):
            story.ask_for_code(f"u{number}")
            cut_all_connections(conninfo)
            wait_until(lambda seen=number: _count(conninfo) == seen + 1, within=10)  # type: ignore[misc]  # bound now
    writers.close()


def _count(conninfo: str) -> int:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(
            "SELECT count(*) FROM events WHERE topic = 'notification.requested'"
        ).fetchone()
        return int(row[0]) if row else 0


# --- trailing read models -----------------------------------------------------------------------


class Collecting:
    """A read model that remembers what it was handed."""

    def __init__(self) -> None:
        self.name = "collecting"
        self.seen: list[str] = []
        self.fails = False

    def apply(self, connection: psycopg.Connection[TupleRow], events: Sequence[RecordedEvent]) -> None:
        if self.fails:
            raise ArithmeticError
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
        self.seen += [event.topic for event in events]


def _tracked(log: Log) -> Any:
    with log.database.connection() as connection:
        return connection.execute("SELECT position FROM tracking WHERE projection = 'collecting'").fetchone()


def test_a_read_model_is_handed_everything_in_order_and_once(log: Log, clock: Clock) -> None:
    story = Story(log, clock)
    story.ask_for_code()
    story.tell("order.placed", "order/1")
    story.handle()
    collecting = Collecting()
    assert [trailing_round(log, collecting, batch=2) for _ in range(3)] == [2, 1, 0]
    assert collecting.seen == ["notification.requested"]
    assert _tracked(log) == (story.events(ours=True)[-1].position,)


def test_its_tracking_stays_when_it_fails(log: Log, clock: Clock) -> None:
    story = Story(log, clock)
    story.ask_for_code()
    story.handle()
    collecting = Collecting()
    collecting.fails = True
    with pytest.raises(ArithmeticError):
        trailing_round(log, collecting)
    assert _tracked(log) is None
    collecting.fails = False
    assert trailing_round(log, collecting) == 2
    assert _tracked(log) is not None
