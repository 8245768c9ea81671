"""What befalls one process at its crossings into the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.simulated.loop import Killed, Process
from benchmarks.simulated.model import ModelConnection
from benchmarks.simulated.unlocking import unlock
from event_log.errors import LogUnavailable

if TYPE_CHECKING:
    from benchmarks.simulated.world import World


class Fate:
    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process
        self._unanswered = False
        """It was not told what became of its last commit."""

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
        self._cut(place)
        if place != "before commit" and random.random() < options.interleave:
            with connection.set_aside():
                self._let_others_go_first()

    def _cut(self, place: str) -> None:
        world, options = self._world, self._world.options
        unanswered, self._unanswered = self._unanswered, False
        if unanswered and world.whims.random() < options.cut_again:
            raise LogUnavailable("the connection is cut still")
        if place == "after commit":
            self._unanswered = world.random.random() < options.doubtful
            if self._unanswered:
                raise LogUnavailable("the connection was cut after COMMIT")
        elif world.random.random() < options.unavailable:
            raise LogUnavailable("the connection was cut")

    def hesitate(self, locked: Sequence[tuple[str, str]]) -> None:
        world = self._world
        if world.chaos and world.random.random() < world.options.hesitates:
            self._let_others_go_first()
            for instance, user_id in locked:
                unlock(world, instance, user_id)

    def overtake(self) -> None:
        world = self._world
        if world.chaos and world.whims.random() < world.options.overtaken:
            self._let_others_go_first()

    def _let_others_go_first(self) -> None:
        world = self._world
        seconds = world.random.choice((0.0, 0.0, 0.25, 0.5, 7.0, 15.0, 45.0))
        steps = world.random.choice((1, 3, 8, 30))
        world.stand_still(self._process, seconds, steps)
