from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest

from event_log.envelope import Envelope
from event_log.intake import CallerEvent, append
from event_log.log import Log
from event_log.wakeups import Wakeups
from notification_domain.notification_events import TransmissionStarted
from tests.event_log.stored_examples import STREAM
from tests.event_log.waiting import wait_until
from tests.swept import swept_database


@pytest.fixture
def conninfo(server: str, template: str) -> str:
    return swept_database(server, template)


class Sleeper:
    def __init__(self) -> None:
        self.woken = threading.Event()

    def wakes(self) -> bool:
        return self.woken.wait(5)


@contextmanager
def sleeping(conninfo: str, *kinds: tuple[str, ...]) -> Iterator[list[Sleeper]]:
    """A sleeper for each tuple of kinds; all have slept in again after the first wake-up on connecting."""
    wakeups, sleepers = Wakeups(conninfo), [Sleeper() for _ in kinds]
    for sleeper, wanted in zip(sleepers, kinds, strict=True):
        wakeups.subscribe(*wanted, call=sleeper.woken.set)
    wakeups.start()
    try:
        for sleeper in sleepers:
            assert sleeper.wakes()
            sleeper.woken.clear()
        yield sleepers
    finally:
        wakeups.close()


def append_one(log: Log, number: int = 1) -> None:
    append(log, "acme", [CallerEvent(source="s", id=f"{number}", type="x.y", subject="user/1")])


def progress(log: Log, wake: str) -> None:
    with log.appending() as transaction:
        fact = TransmissionStarted(1)
        transaction.write(
            [Envelope(instance="acme", stream=STREAM, version=1, subject="user/1", fact=fact)], wake=wake
        )


def test_a_commit_wakes_who_asked_for_its_kind_and_nobody_else(log: Log, conninfo: str) -> None:
    with sleeping(conninfo, ("source",), ("due",), ("due", "progress")) as (handler, worker, history):
        progress(log, "due")
        assert worker.wakes()
        assert history.wakes()
        assert not handler.woken.is_set()


def test_a_callers_event_wakes_the_handler(log: Log, conninfo: str) -> None:
    with sleeping(conninfo, ("source",)) as (handler,):
        append_one(log)
        assert handler.wakes()


@pytest.mark.parity("S5.11")
def test_both_are_woken_by_one_commit_of_two_kinds(log: Log, conninfo: str) -> None:
    with sleeping(conninfo, ("source",), ("due",)) as (handler, worker):
        with log.appending() as transaction:
            for version, kind in ((1, "due"), (2, "source")):
                fact = TransmissionStarted(1)
                envelope = Envelope(
                    instance="acme", stream=STREAM, version=version, subject="user/1", fact=fact
                )
                transaction.write([envelope], wake=kind)
        assert handler.wakes()
        assert worker.wakes()


def test_nobody_is_woken_when_nothing_was_committed(log: Log, conninfo: str) -> None:
    with sleeping(conninfo, ("due",), ("source",)) as (worker, handler):
        with suppress(ZeroDivisionError), log.appending() as transaction:
            fact = TransmissionStarted(1)
            envelope = Envelope(instance="acme", stream=STREAM, version=1, subject="user/1", fact=fact)
            transaction.write([envelope], wake="due")
            raise ZeroDivisionError
        append_one(log)
        assert handler.wakes(), "by then a wake-up for the worker would have come, too"
        assert not worker.woken.is_set()


@pytest.mark.parity("ALL-5")
def test_it_listens_again_and_wakes_everyone_when_its_connection_was_cut(log: Log, conninfo: str) -> None:
    with sleeping(conninfo, ("source",), ("due",)) as (handler, worker):
        _cut_listeners(conninfo)
        # What came while nobody listened is caught up with, whatever it was.
        assert handler.wakes()
        assert worker.wakes()
        handler.woken.clear()
        append_one(log)
        assert handler.wakes()


def _cut_listeners(conninfo: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        cut = connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        ).fetchall()
    assert cut == [(True,)]


def test_closing_ends_its_thread_even_when_the_server_is_away(conninfo: str) -> None:
    wakeups = Wakeups(psycopg.conninfo.make_conninfo(conninfo, host="/nonexistent"))
    wakeups.start()
    wait_until(lambda: any(thread.name == "wake-ups" for thread in threading.enumerate()))
    wakeups.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "wake-ups"]
