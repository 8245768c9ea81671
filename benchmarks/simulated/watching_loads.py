"""What a worker must see of its claims before it attempts anything, and rows that it cannot read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

from benchmarks.simulated.duties import Lease
from benchmarks.simulated.loop import CURRENT
from benchmarks.simulated.rules import RULES, may_reach, user_state
from benchmarks.simulated.statements import Parameters
from benchmarks.simulated.world import World
from notification_domain import identity
from workers.loading import Loaded


class LoadWatch:
    def __init__(self, world: World) -> None:
        self._world = world
        self._altered: dict[object, set[UUID]] = {}
        """By process, the streams of those whose rows it could not read in its newest load."""
        self.hopeless: set[Lease] = set()

    def load(self) -> Callable[[Sequence[Loaded]], None]:
        tables, process = self._world.tables, CURRENT.get()
        head = tables.last_position
        frozen = {aside[0] for aside in tables.quarantine.values()}
        self._altered[process] = set()

        def look_again(loaded: Sequence[Loaded]) -> None:
            hidden = frozen & {aside[0] for aside in tables.quarantine.values()} | self._altered[process]
            for one in loaded:
                overlooked = any(self._against(one, head)) or not hidden.isdisjoint(_bearing(one))
                self.hopeless.discard(one.held.lease)
                if one.obstacle is not None:
                    self.hopeless.add(one.held.lease)
                elif overlooked:
                    self._world.violations.append(f"{one.held.notification} was loaded as if nothing were")

        return look_again

    def _against(self, one: Loaded, head: int) -> Iterator[bool]:
        request, rule = one.held.request, RULES[one.held.request.rule]
        cause = identity.stream_id(one.held.instance, request.source.subject)
        if not rule.by_code_id:
            pointless = rule.used | rule.superseded
            yield any(topic in pointless for topic in self._topics(cause, request.source.version, head))
        if one.subject.user_stream:
            told = self._topics(one.subject.user_stream, 0, head)
            unchanged = told == self._topics(one.subject.user_stream, 0, self._world.tables.last_position)
            yield unchanged and not may_reach(rule, user_state(told))

    def _topics(self, stream: UUID, after: int, head: int) -> list[str]:
        known = self._world.tables.streams.get(stream, ())
        return [row[4] for row in known if row[3] > after and row[0] <= head]

    def read(self, _: Parameters) -> Callable[[Any], None]:
        world, process = self._world, CURRENT.get(self._world.loop.world)

        def look_again(rows: list[Any]) -> None:
            if not rows or not world.chaos or process not in self._altered:
                return
            if world.whims.random() < world.options.unreadable:
                place = int(world.whims.random() * len(rows))
                instance, subject, version, sealed = rows[place]
                rows[place] = (instance, subject, version, sealed[:-1] + bytes([sealed[-1] ^ 1]))
                self._altered[process].add(identity.stream_id(instance, subject))

        return look_again

    def look_for_later(self, _: Parameters) -> Callable[[Any], None]:
        """What came later may not be readable; where its type alone counts, that changes nothing."""
        world, process = self._world, CURRENT.get(self._world.loop.world)

        def look_again(rows: list[Any]) -> None:
            plain = [place for place, row in enumerate(rows) if row[4] in _PLAIN]
            if not plain or not world.chaos or process not in self._altered:
                return
            if world.whims.random() < world.options.unreadable:
                place = world.whims.choice(plain)
                *kept, state = rows[place]
                rows[place] = (*kept, state[:-1] + bytes([state[-1] ^ 1]))

        return look_again


_PLAIN = frozenset(
    topic for rule in RULES.values() if not rule.by_code_id for topic in rule.used | rule.superseded
)


def _bearing(one: Loaded) -> set[UUID]:
    """The streams without which nobody knows whether anything stands against it."""
    cause = identity.stream_id(one.held.instance, one.held.request.source.subject)
    return {cause, *filter(None, (one.subject.user_stream,))}
