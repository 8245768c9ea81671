"""One schedule's world: its processes, what befalls them, and what everybody outside was told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from benchmarks.simulated import providers
from benchmarks.simulated.callbacks import Callbacks
from benchmarks.simulated.loop import CURRENT, Killed, Process, VirtualLoop
from benchmarks.simulated.model import ModelConnection, ModelDatabase, ModelLog
from benchmarks.simulated.options import Options, draw
from benchmarks.simulated.providers import Copy
from benchmarks.simulated.tables import EPOCH, Tables
from benchmarks.simulated.unlocking import unlock
from event_log.callbacks import Reference
from event_log.errors import LogUnavailable
from notification_domain.backoff import RetryPolicy
from notification_domain.policies import Deployment
from workers.channels.port import Message

STEP_LIMIT = 20_000
MAX_CLAIMS = 6


class World:
    def __init__(self, seed: int, changes: dict[str, Any] | None = None) -> None:
        self.seed = seed
        self.random = Random(seed)
        self._bytes = Random(seed + 1)
        options = draw(self.random)
        self.options: Options = Options(
            **({n: getattr(options, n) for n in Options.__struct_fields__} | (changes or {}))
        )
        self.loop = VirtualLoop(self.random, STEP_LIMIT)  # type: ignore[abstract]  # only what asyncio asks for
        self.loop.before_step = self._befall
        self.tables = Tables(self.loop.time)
        self.deployment = Deployment(max_ttl=timedelta(minutes=Random(seed + 4).choice((30, 30, 30, 2))))
        self.policy = RetryPolicy(
            max_attempts=self.options.max_attempts, min_delay=2.0, max_delay=300.0, factor=2.0
        )
        self.chaos = True
        self.mended = False
        """A version is at work that understands what was poison."""
        self.crashes = 0
        self.ledger: list[Copy] = []
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

    # --- processes --------------------------------------------------------------------------------

    def chance(self, count: int) -> bytes:
        return self._bytes.randbytes(count)

    def jitter(self) -> float:
        return int(self.random.random() * 8) / 8

    def clock_of(self, skew: int) -> Callable[[], datetime]:
        return lambda: EPOCH + timedelta(seconds=self.loop.now + skew)

    def skew(self) -> int:
        most = self.options.skew
        return self.random.randint(-most, most) if most else 0

    def log_of(self, process: Process) -> ModelLog:
        database = ModelDatabase(self.tables, _Fate(self, process), self.loop.time)
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

    def heal(self) -> None:
        """No faults from here on; what is frozen goes on when its time has come."""
        self.chaos = False
        self.mended = self.options.poison and self.random.random() < self.options.mended
        self.loop.trace.append((self.loop.now, "healed"))

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

    def provider_delay(self) -> float:
        if self.chaos and self.random.random() < self.options.slow:
            return float(self.random.choice((3, 5, 12, 20, 40, 70)))
        return int(self.random.random() * 8) / 64

    def stage(self, message: Message | None = None) -> None:
        """A worker may die here; the one deadly message takes every worker with it."""
        deadly = message is not None and self.deadly and self.deadly in providers.plain_text(message)
        process = CURRENT.get()
        unlucky = self.chaos and self.random.random() < self.options.crash_sending
        if (deadly or unlucky) and process in self._mortals:
            self.kill(process)
            raise Killed

    def hand_over(self, begin: Any, message: Message, answer: asyncio.Future[Any]) -> None:  # noqa: ANN401
        process = CURRENT.get()
        attempt = begin.__self__._subject.held.progress.attempt  # noqa: SLF001
        self.loop.world.after(self.provider_delay(), self._judge, process, message, attempt, answer)

    def _judge(self, process: Process, message: Message, attempt: int, answer: asyncio.Future[Any]) -> None:
        taken, outcome = providers.judged(self)
        message_id, notification, code = providers.plain_text(message)
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


class _Fate:
    """What befalls one process at its crossings into the database."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process

    def committed(self, wakes: Sequence[str]) -> None:
        if wakes:
            self._world.committed(wakes)

    def reach(self, place: str, connection: ModelConnection) -> None:
        world = self._world
        if not self._process.alive:
            raise Killed
        if not world.chaos:
            return
        try:
            self._struck(place, connection)
        except LogUnavailable:
            world.cuts[self._process] += 1
            raise

    def _struck(self, place: str, connection: ModelConnection) -> None:
        world, process = self._world, self._process
        options, random = world.options, world.random
        if world.loop.now < world.down_until and place != "after commit":
            raise LogUnavailable("the server is down")
        if process in world._mortals and random.random() < options.crash_inside:  # noqa: SLF001  # one world
            world.kill(process)
            raise Killed
        if place == "after commit":
            if random.random() < options.doubtful:
                raise LogUnavailable("the connection was cut after COMMIT")
        elif random.random() < options.unavailable:
            raise LogUnavailable("the connection was cut")
        if place != "before commit" and random.random() < options.interleave:
            with connection.set_aside():
                self._let_others_go_first()

    def hesitate(self, locked: Sequence[tuple[str, str]]) -> None:
        world = self._world
        if world.chaos and world.random.random() < world.options.hesitates:
            self._let_others_go_first()
            for instance, user_id in locked:
                unlock(world, instance, user_id)

    def _let_others_go_first(self) -> None:
        world = self._world
        seconds = world.random.choice((0.0, 0.0, 0.25, 0.5, 7.0, 15.0, 45.0))
        steps = world.random.choice((1, 3, 8, 30))
        if len(world.nested) > 2:
            return
        world.nested.append(self._process)
        try:
            world.loop.meanwhile(world.loop.now + seconds, steps)
        finally:
            world.nested.pop()
        if not self._process.alive:
            raise Killed
