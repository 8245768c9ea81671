from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

import psycopg
import pytest

from event_log.log import Log
from event_log.recorder import APPEND_LOCK
from notification_domain.outcomes import Delivered
from projections.rebuild import REBUILDABLE, Progress, rebuild
from projections.rebuilding.errors import (
    AlreadyRebuilding,
    RebuildBlocked,
)
from projections.rebuilding.new_version import AppendLock, Tracked, Writer
from tests.projections.rebuild_story import (
    TABLES,
    Clock,
    Owner,
    claim,
    conclude,
    follow,
    left_overs,
    rows,
    tell,
    varied_past,
)

ROOT = Path(__file__).parents[2]


class Life:
    """Others write and read a projection for as long as the context lives."""

    def __init__(self, log: Log, clock: Clock, table: str) -> None:
        self._log = log
        self._clock = clock
        self._table = table
        self._stopped = threading.Event()
        self._failures: list[BaseException] = []
        self.counts: list[int] = []
        works = (self._write, self._read)
        self._threads = [threading.Thread(target=self._guard, args=(work,)) for work in works]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        assert self._failures == []

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # shown at the end
            self._failures.append(error)

    def _write(self) -> None:
        number = 100
        while not self._stopped.is_set():
            tell(self._log, self._clock, [number])
            for subject in claim(self._log, self._clock, 1):
                conclude(self._log, self._clock, subject, Delivered())
            number += 1

    def _read(self) -> None:
        with self._log.database.connection() as connection:
            while not self._stopped.is_set():
                cursor = connection.execute(f"SELECT count(*) FROM {self._table}", prepare=True)
                self.counts.extend(count for (count,) in cursor.fetchall())


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", REBUILDABLE)
def test_nothing_is_missed_or_mixed_while_others_write_and_read(
    name: str, log: Log, owning: Log, clock: Clock
) -> None:
    varied_past(log, clock)
    with Life(log, clock, TABLES[name]) as life:
        answers = [rebuild(owning, name, batch=20) for _ in range(3)]
    assert all(answer.equal for answer in answers)
    assert min(life.counts) > 0
    if name != "due":
        assert life.counts == sorted(life.counts)
    follow(log, clock)
    assert rebuild(owning, name).equal


def test_the_second_of_two_rebuilds_is_refused(log: Log, owning: Log, clock: Clock) -> None:
    tell(log, clock, range(3))
    refused: list[str] = []

    def try_another(progress: Progress) -> None:
        if progress.phase == "swapping":
            with pytest.raises(AlreadyRebuilding) as error:
                rebuild(owning, "history")
            refused.append(str(error.value))
            assert rebuild(owning, "due").equal

    assert rebuild(owning, "history", report=try_another).equal
    assert refused == ["history is being rebuilt already: wait until that has ended."]


REBUILD_AND_WAIT = """
import os, sys
from event_log.database import Database
from event_log.deployment_key import DeploymentKey
from event_log.log import Log
from event_log.recorder import APPEND_LOCK
from projections.rebuild import rebuild

def wait(progress):
    if progress.phase == sys.argv[3]:
        print("reached", flush=True)
        if sys.argv[3] == "filling":
            sys.stdin.read()

database = Database(sys.argv[1], role="")
rebuild(Log(database, DeploymentKey(bytes(range(32))), os.urandom), sys.argv[2], report=wait, batch=10)
"""


def kill_a_rebuild(conninfo: str, name: str, phase: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", REBUILD_AND_WAIT, conninfo, name, phase],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"reached\n"
        process.kill()


@pytest.mark.parametrize("name", REBUILDABLE)
def test_a_killed_rebuild_leaves_the_old_version_and_no_obstacle(
    name: str, log: Log, owning: Log, owner: Owner, clock: Clock, conninfo: str
) -> None:
    varied_past(log, clock)
    before = rows(log, owner, name)
    kill_a_rebuild(conninfo, name, "filling")
    assert left_overs(owner) > 0
    assert rows(log, owner, name) == before
    assert rebuild(owning, name).equal
    assert left_overs(owner) == 0
    assert rows(log, owner, name) == before


@pytest.mark.parametrize("name", REBUILDABLE)
def test_a_rebuild_killed_in_its_swap_changes_nothing(
    name: str, log: Log, owning: Log, owner: Owner, clock: Clock, conninfo: str
) -> None:
    varied_past(log, clock)
    before = rows(log, owner, name)
    with psycopg.connect(conninfo) as reader:
        reader.execute(f"SELECT count(*) FROM {TABLES[name]}")
        kill_a_rebuild(conninfo, name, "swapping")
        assert rows(log, owner, name) == before
    assert rebuild(owning, name).equal
    assert rows(log, owner, name) == before


@pytest.mark.parametrize("name", REBUILDABLE)
def test_a_reader_that_holds_the_table_for_long_blocks_the_swap_and_nobody_else(
    name: str, log: Log, owning: Log, owner: Owner, clock: Clock, conninfo: str
) -> None:
    varied_past(log, clock)
    with psycopg.connect(conninfo) as reader:
        reader.execute(f"SELECT count(*) FROM {TABLES[name]}")
        with pytest.raises(RebuildBlocked, match="rebuild again"):
            rebuild(owning, name, tries=1)
    tell(log, clock, [77])
    assert left_overs(owner) == 0
    assert rebuild(owning, name).equal


WRITING = {
    "due": f"SELECT pg_advisory_xact_lock({APPEND_LOCK})",
    "recipients": "UPDATE tracking SET position = position WHERE projection = 'handler'",
    "history": "UPDATE tracking SET position = position WHERE projection = 'history'",
    "pauses": f"SELECT pg_advisory_xact_lock({APPEND_LOCK})",
}


@pytest.mark.parametrize("name", REBUILDABLE)
def test_a_writer_in_the_middle_of_its_transaction_is_waited_for(
    name: str, log: Log, owning: Log, owner: Owner, clock: Clock, conninfo: str
) -> None:
    varied_past(log, clock)
    with psycopg.connect(conninfo) as writer:
        writer.execute(WRITING[name])
        with pytest.raises(RebuildBlocked):
            rebuild(owning, name, tries=1)
    assert left_overs(owner) == 0


@pytest.mark.parametrize("name", REBUILDABLE)
def test_a_held_writer_waits_until_the_transaction_ends(
    name: str, log: Log, owning: Log, owner: Owner, clock: Clock, conninfo: str
) -> None:
    tell(log, clock, range(2))
    writers: dict[str, Writer] = {
        "due": AppendLock(owning),
        "recipients": Tracked("handler"),
        "history": Tracked("history"),
        "pauses": AppendLock(owning),
    }
    with psycopg.connect(conninfo, autocommit=True) as other:
        other.execute("SET lock_timeout = '50ms'")
        with owner.transaction():
            held_at = writers[name].hold(owner.cursor())
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute(WRITING[name])
        other.execute(WRITING[name])
    assert held_at == writers[name].reached(owner.cursor()) > 0


def test_an_interrupted_rebuild_clears_up_after_itself(
    log: Log, owning: Log, owner: Owner, clock: Clock
) -> None:
    varied_past(log, clock)
    before = rows(log, owner, "due")

    def give_up(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(owning, "due", report=give_up)
    assert left_overs(owner) == 0
    assert rows(log, owner, "due") == before
    assert rebuild(owning, "due").equal
