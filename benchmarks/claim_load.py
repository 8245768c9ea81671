"""Claims as a worker makes them, on a due queue that is refilled behind them.

Only the claims themselves are timed: what they took is removed, as by a result, and as much falls due anew.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from random import Random
from uuid import UUID

import msgspec

from benchmarks.own_log import OwnLog
from event_log import due_queue
from event_log.due_queue import Claim, DueRow, Wanted, new_token
from tidings.composition import clock
from workers.active_instances import ActiveInstances
from workers.round import Round
from workers.worker_settings import WorkerSettings

BATCH = 100
LEASE = timedelta(minutes=5)
_CAUSE = UUID(int=1)


class Claimed(msgspec.Struct):
    """What some claims took, and the seconds they took for it."""

    rows: int = 0
    seconds: float = 0.0

    @property
    def per_s(self) -> float:
        return self.rows / self.seconds if self.seconds else 0.0

    def add(self, rows: int, seconds: float) -> None:
        self.rows += rows
        self.seconds += seconds


class ClaimLoad:
    """One worker's claims; ``refill`` keeps the backlog as long as it is."""

    def __init__(self, place: OwnLog, *, seed: int = 0, refill: bool = True) -> None:
        defaults = WorkerSettings()
        self._place = place
        active = ActiveInstances(defaults.max_active_instances, defaults.handle_active_instances, clock)
        self._round = Round(active, clock)
        self._chance = Random(seed)
        self._refill = refill

    def measure(self, seconds: float) -> Claimed:
        done = Claimed()
        until = time.perf_counter() + seconds
        while time.perf_counter() < until and self.once(done):
            pass
        return done

    def once(self, done: Claimed) -> bool:
        """One claim and what follows from it; whether there was anything to claim."""
        began = time.perf_counter()
        claims = self._claim()
        done.add(len(claims), time.perf_counter() - began)
        with self._place.log.appending() as append:
            due_queue.remove(append.cursor, [claim.notification for claim in claims])
            if self._refill:
                due_queue.put(append.cursor, self._others(claims))
        return bool(claims)

    def _claim(self) -> list[Claim]:
        with self._place.log.database.connection() as connection:
            wanted = Wanted(
                now=clock(),
                limit=BATCH,
                lease=LEASE,
                token=new_token(self._place.log.chance),
                channels=("email", "sms"),
                retries=(False,),
            )
            return self._round.take(connection.cursor(binary=True), wanted)

    def _others(self, claims: Sequence[Claim]) -> list[DueRow]:
        now = clock()
        return [
            DueRow(
                notification=UUID(int=self._chance.getrandbits(128)),
                instance=claim.instance,
                channel="email",
                priority=0,
                not_before=now,
                expires_at=now + timedelta(hours=1),
                cause_stream=_CAUSE,
                cause_version=1,
                supersede_key="rule",
            )
            for claim in claims
        ]


def drained(places: Sequence[OwnLog], seconds: float) -> float:
    """Notifications a second that workers take from one queue and remove, one worker a place."""
    totals = [Claimed() for _ in places]

    def work(number: int) -> None:
        totals[number] = ClaimLoad(places[number], seed=number, refill=False).measure(seconds)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(places))]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(total.rows for total in totals) / (time.perf_counter() - began)
