"""One schedule's world: its processes, what befalls them, and what everybody outside was told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from random import Random
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from benchmarks.simulated import providers
from benchmarks.simulated.callbacks import Callbacks
from benchmarks.simulated.duties import Duties
from benchmarks.simulated.fate import Fate
from benchmarks.simulated.loop import CURRENT, Killed, Process, VirtualLoop
from benchmarks.simulated.model import ModelDatabase, ModelLog
from benchmarks.simulated.options import Options, draw, draw_later
from benchmarks.simulated.providers import Copy
from benchmarks.simulated.tables import EPOCH, Tables
from event_log.callbacks import Reference
from event_log.errors import EventLogError, LostRace
from notification_domain.backoff import RetryPolicy
from notification_domain.policies import Deployment
from workers.channels.port import Message
from workers.recording import Held

STEP_LIMIT = 20_000


class World:
    def __init__(self, seed: int, changes: dict[str, Any] | None = None) -> None:
        self.seed = seed
        self.random = Random(seed)
        self._bytes = Random(seed + 1)
        self.options: Options = replace(draw(self.random), **(draw_later(Random(seed + 5)) | (changes or {})))
        self.whims = Random(seed + 6)
        """Decides what came in later, so that the rest of a schedule stays what it was."""
        self.loop = VirtualLoop(self.random, STEP_LIMIT)  # type: ignore[abstract]  # only what asyncio asks for
        self.loop.before_step, self.loop.dawdle, self.loop.linger = self._befall, self._dawdle, self.linger
        self.tables = Tables(self.loop.time)
        self.chaos = True
        self.mended = False
        """A version is at work that understands what was poison."""
        self.crashes = 0
        self.ledger: list[Copy] = []
        self.handed_over: set[UUID] = set()
        self.violations: list[str] = []
        self.deadly: str = ""
        """The code of the message that kills its workers."""
        self.cuts: Counter[Process] = Counter()
        """How often each could not reach the database, or was not told."""
        self.down_until = 0.0
        self.subscribers: list[tuple[Process, str, Callable[[], None]]] = []
        self._mortals: dict[Process, Callable[[], None]] = {}
        self.nested: list[Process] = []
        self.lost_claims: dict[UUID, int] = {}
        """The most that was seen, by notification."""
        self.stoppers: dict[Process, Callable[[], None]] = {}
        self._callbacks = Callbacks(self, seed + 3)
        self.watchers: dict[str, Any] = {}
        self.duties = Duties()

    @cached_property
    def deployment(self) -> Deployment:
        minutes = self.options.minutes or Random(self.seed + 4).choice((30, 30, 30, 2))
        return Deployment(max_ttl=timedelta(minutes=minutes))

    @cached_property
    def policy(self) -> RetryPolicy:
        return RetryPolicy(max_attempts=self.options.max_attempts, min_delay=2.0, max_delay=300.0, factor=2.0)

    # --- processes --------------------------------------------------------------------------------

    def chance(self, count: int) -> bytes:
        return self._bytes.randbytes(count)

    def jitter(self) -> float:
        share = int(self.random.random() * 8) / 8
        return max(share, self.options.least_jitter)

    def clock_of(self, skew: int) -> Callable[[], datetime]:
        return lambda: EPOCH + timedelta(seconds=self.loop.now + skew)

    def skew(self) -> int:
        most = self.options.skew
        return self.random.randint(-most, most) if most else 0

    def log_of(self, process: Process) -> ModelLog:
        database = ModelDatabase(self.tables, Fate(self, process), self.loop.time)
        database.watchers = self.watchers
        return ModelLog(database, self.chance)

    def start(self, name: str, begin: Callable[[Process], Any], *, mortal: bool = True) -> Process:
        """``begin`` gives the coroutine that is the process's life."""
        process = Process(self.loop, name)
        if mortal:
            self._mortals[process] = lambda: self._restart(name, begin)
        process.spawn(begin(process))
        return process

    def _restart(self, name: str, begin: Callable[[Process], Any]) -> None:
        kind = name.split(maxsplit=1)[0]
        if self.chaos or not self.living(kind):  # one of each is enough to heal
            self.start(name, begin)

    def kill(self, process: Process) -> None:
        again = self._mortals.pop(process)
        self.crashes += 1
        self.loop.trace.append((self.loop.now, process.name, "killed"))
        self.end(process)
        self.loop.world.after(self.random.choice((0.0, 0.5, 3.0, 10.0)), again)

    def end(self, process: Process) -> None:
        """For good."""
        self._mortals.pop(process, None)
        self.subscribers = [one for one in self.subscribers if one[0] is not process]
        process.kill()

    def living(self, prefix: str) -> list[Process]:
        return [process for process in self._mortals if process.name.startswith(prefix)]

    def replace(self, process: Process) -> None:
        """It came to its end by itself; start it anew."""
        again = self._mortals.pop(process, None)
        if again is not None:
            self.end(process)
            again()

    # --- what befalls them ------------------------------------------------------------------------

    def _befall(self, process: Process) -> bool:
        if not self.chaos or process not in self._mortals:
            return True
        draw = self.random.random()
        options = self.options
        if draw < options.crash and process.name.startswith(options.victims):
            self.kill(process)
            return False
        if draw < options.crash + options.freeze:
            self.freeze(process)
            return False
        return True

    def freeze(self, process: Process) -> None:
        seconds = self.random.choice((1.0, 8.0, 12.0, 40.0))
        self.loop.trace.append((self.loop.now, process.name, "frozen"))
        process.frozen = True
        self.loop.world.after(seconds, setattr, process, "frozen", False)

    def down_from(self, seconds: float) -> None:
        """An outage of the database."""

        def fall() -> None:
            self.down_until = self.loop.now + self.random.choice((3.0, 20.0))

        self.loop.world.after(seconds, fall)

    def surprise(self, who: str, error: Exception) -> None:
        self.violations.append(f"{who}: {error!r}")

    def hear_excuse(self, who: str, error: EventLogError) -> None:
        """For not having changed a notification: only the database is one."""
        if isinstance(error, LostRace) or "moves too fast" in str(error):
            self.surprise(who, error)

    def heal(self) -> None:
        """No faults from here on; what is frozen goes on when its time has come."""
        self.chaos = False
        self.mended = self.options.poison and self.random.random() < self.options.mended
        self.loop.trace.append((self.loop.now, "healed"))

    def _dawdle(self) -> float:
        """How much longer than usual a commit waits in its lane."""
        if self.chaos and self.whims.random() < self.options.dawdles:
            expiry = self._until_one_expires()
            return self.whims.choice((1.0, 3.0, 12.0, expiry, expiry, expiry))
        return 0.0

    def _until_one_expires(self) -> float:
        """Just past the next end of what is under way."""
        now = self.tables.now()
        left = (row.expires_at - now for row in self.tables.due.values() if row.lease_token is not None)
        seconds = [one.total_seconds() for one in left if one > timedelta(0)]
        return min(min(seconds, default=0.0) + 1.25, 60.0)

    def linger(self, held: Held) -> None:
        """Others may go on while a message is prepared, now and then until its time is over."""
        if self.options.deadly_later and held.notification in self.handed_over:
            self._die(CURRENT.get())
        if not (self.chaos and self.options.prepares_slowly):
            return
        left = (held.progress.expires_at - self.tables.now()).total_seconds()
        if 0.0 < left < self.options.lease - 2:  # the fence's margin
            ends = (left, left) if held.progress.attempt else ()
            self.stand_still(CURRENT.get(), self.whims.choice((0.25, 7.0, left, *ends)), 200)
        elif self.whims.random() < self.options.prepares_slowly:
            self.stand_still(CURRENT.get(), self.whims.choice((0.25, 2.0, 7.0)), 200)

    def stand_still(self, process: Process, seconds: float, steps: int) -> None:
        """Others go on in the middle of one's step."""
        if len(self.nested) > 2:
            return
        self.nested.append(process)
        try:
            self.loop.meanwhile(self.loop.now + seconds, steps)
        finally:
            self.nested.pop()
        if not process.alive:
            raise Killed

    # --- between them -----------------------------------------------------------------------------

    def subscribe(self, process: Process, kind: str, call: Callable[[], None]) -> None:
        self.subscribers.append((process, kind, call))

    def committed(self, wakes: Sequence[str]) -> None:
        for process, kind, call in self.subscribers:
            if kind in wakes and not (self.chaos and self.random.random() < self.options.lost_wakes):
                process.after(0.0, call)

    # --- providers --------------------------------------------------------------------------------

    def in_trouble(self) -> bool:
        return self.chaos and self.random.random() < self.options.trouble

    def is_unclear(self) -> bool:
        return self.chaos and self.whims.random() < self.options.unclear

    def provider_delay(self) -> float:
        if self.chaos and self.random.random() < self.options.slow:
            return float(self.random.choice((3, 5, 12, 20, 40, 70)))
        return int(self.random.random() * 8) / 64

    def stage(self, message: Message | None = None) -> None:
        """A worker may die here; the one deadly message takes every worker with it."""
        deadly = message is not None and self.deadly and self.deadly in providers.plain_text(message)
        process = CURRENT.get()
        unlucky = self.chaos and self.random.random() < self.options.crash_sending
        if deadly or unlucky:
            self._die(process)

    def _die(self, process: Process) -> None:
        if process in self._mortals:
            self.kill(process)
            raise Killed

    def hand_over(self, begin: Any, message: Message, answer: asyncio.Future[Any]) -> None:  # noqa: ANN401
        process = CURRENT.get()
        attempt = begin.__self__._subject.held.progress.attempt  # noqa: SLF001
        self.loop.world.after(self.provider_delay(), self._judge, process, message, attempt, answer)

    def _judge(self, process: Process, message: Message, attempt: int, answer: asyncio.Future[Any]) -> None:
        taken, outcome = providers.judged(self)
        message_id, notification, code = providers.plain_text(message)
        self.handed_over.add(UUID(notification))
        self._callbacks.about(Reference(UUID(notification), attempt), taken=taken)
        if taken:
            head = self.tables.log[-1][0] if self.tables.log else 0
            self.loop.trace.append((self.loop.now, "taken", notification))
            self.ledger.append(
                Copy(
                    UUID(notification),
                    message_id,
                    code,
                    providers.addressee(message),
                    attempt,
                    head,
                    self.loop.now,
                )
            )
        if outcome is not None:
            process.after(self.provider_delay(), _answer, answer, outcome)


def _answer(future: asyncio.Future[Any], outcome: Any) -> None:  # noqa: ANN401
    if not future.done():
        future.set_result(outcome)
