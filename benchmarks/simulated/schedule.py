"""One schedule from its seed: chaos, healing, rest, and then the checks."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from benchmarks.simulated import checks
from benchmarks.simulated.actors import Api, Client, Handling, Working
from benchmarks.simulated.loop import StepLimitReached
from benchmarks.simulated.operating import Operating
from benchmarks.simulated.others import Others
from benchmarks.simulated.patches import NEXT_VERSION, patched, standing
from benchmarks.simulated.story import Story
from benchmarks.simulated.tables import EPOCH
from benchmarks.simulated.watching import watchers
from benchmarks.simulated.world import World
from event_log.due_queue import NEVER
from projections.handler import NAME

LONGEST_REST = 4 * 3600.0
"""Virtual seconds in which a healed world must come to rest: longer than anything may stay open."""


class Report(msgspec.Struct, frozen=True):
    seed: int
    crashes: int
    steps: int
    violations: tuple[str, ...]
    digest: str
    trace: tuple[Any, ...] = ()


def run(seed: int, changes: dict[str, Any] | None = None, *, trace: bool = False) -> Report:
    """Run the schedule of a seed; ``changes`` overrule the options it draws."""
    with standing():
        return _Schedule(seed, changes).run(trace=trace)


def replay(seed: int) -> Iterator[str]:
    """What happens in the schedule of a seed, line by line: its options, its steps, its log."""
    with standing():
        schedule = _Schedule(seed, None)
        report = schedule.run(trace=True)
    for name in schedule.world.options.__struct_fields__:
        yield f"option {name} = {getattr(schedule.world.options, name)}"
    rows = [((row[5] - EPOCH).total_seconds(), row) for row in schedule.world.tables.log]
    for at, *what in report.trace:
        while rows and rows[0][0] <= at:
            when, row = rows.pop(0)
            yield f"{when:10.4f}  log {row[0]}: {row[1]} {str(row[2])[:8]} {row[3]} {row[4]}"
        yield f"{at:10.4f}  {' '.join(str(word) for word in what)}"
    for when, row in rows:
        yield f"{when:10.4f}  log {row[0]}: {row[1]} {str(row[2])[:8]} {row[3]} {row[4]}"


class _Schedule:
    def __init__(self, seed: int, changes: dict[str, Any] | None) -> None:
        self.world = world = World(seed, changes)
        world.watchers = watchers(world)
        story = Story(world.random, world.options, seed)
        self.api = Api(world)
        self.clients = [Client(world, self.api, story.batches(world.options.triggers))]
        self.operator = Operating(world)
        if world.options.deadly:
            world.deadly = f"C{world.random.randint(2, 6)}"

    def run(self, *, trace: bool) -> Report:
        world, loop = self.world, self.world.loop
        asyncio._set_running_loop(loop)  # noqa: SLF001  # what a loop does when it runs
        try:
            self._begin()
            self._play()
        except StepLimitReached:
            world.violations.append("it never came to rest")
        finally:
            for process in world.living(""):
                world.end(process)
            asyncio._set_running_loop(None)  # noqa: SLF001
        if not world.violations:
            world.violations += checks.check(self)
        return Report(
            world.seed,
            world.crashes,
            loop.steps,
            tuple(world.violations),
            self._digest(),
            tuple(loop.trace) if trace else (),
        )

    def _begin(self) -> None:
        world, options = self.world, self.world.options
        world.start("api", self.api.live)
        for number in range(options.handlers):
            world.start(f"handler {number}", Handling(world).live)
        for number in range(options.workers):
            world.start(f"worker {number}", Working(world).live)
        for client in self.clients:
            world.start("client", client.live, mortal=False)
        if options.operator or options.stops or options.starts_over or options.poison:
            world.start("operator", self.operator.live, mortal=False)
        if options.others:
            world.start("others", Others(world).live, mortal=False)
        if options.outage:
            world.down_from(world.random.choice((1.0, 5.0, 30.0)))

    def _play(self) -> None:
        world, loop = self.world, self.world.loop
        loop.run_until(lambda: loop.steps >= world.options.chaos_steps, deadline=600.0)
        world.heal()
        with patched(NEXT_VERSION if world.mended else ()):
            self._come_to_rest()

    def _come_to_rest(self) -> None:
        world, loop = self.world, self.world.loop
        for process in [*world.living("worker")[1:], *world.living("handler")[1:]]:
            world.end(process)
        healer = world.start("healer", self.operator.heal, mortal=False)
        deadline = loop.now + LONGEST_REST
        while loop.runnable or not self._rests():
            if not loop.advance(deadline):
                world.violations.append(f"it never came to rest: {self._what_is_left()}")
                return
        world.end(healer)
        world.violations += world.duties.unmet()

    def _rests(self) -> bool:
        """Nothing is left to do but what waits for a person."""
        world, tables = self.world, self.world.tables
        if any(row.not_before != NEVER for row in tables.due.values()):
            return False
        if world.mended and tables.quarantine:
            return False
        if not all(client.finished for client in self.clients):
            return False
        return not tables.log or tables.tracking.get(NAME) == tables.log[-1][0]

    def _what_is_left(self) -> str:
        tables = self.world.tables
        left = [str(row.notification_id) for row in tables.due.values() if row.not_before != NEVER]
        return f"{len(left)} due, handler at {tables.tracking.get(NAME)} of {tables.last_position}"

    def _digest(self) -> str:
        rows = [(row[0], str(row[2]), row[3], row[4], row[5]) for row in self.world.tables.log]
        said = repr((self.world.loop.trace, rows, self.world.violations))
        return hashlib.sha256(said.encode()).hexdigest()[:16]
