"""Other senders: they tell on a source stream what they sent, and name the trigger it was for."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from benchmarks.simulated.loop import Process
from benchmarks.simulated.model import Calm, ModelDatabase, ModelLog
from benchmarks.simulated.rules import RULES
from benchmarks.simulated.world import World
from event_log.envelope import SourceEvent
from event_log.errors import EventLogError
from event_log.intake import CallerEvent, append

TIMES = 4
"""How often they look for something to tell, at most."""


class Others:
    def __init__(self, world: World) -> None:
        self._world = world
        self._log = ModelLog(ModelDatabase(world.tables, Calm(), world.loop.time), world.chance)

    async def live(self, _: Process) -> None:
        whims = self._world.whims
        for number in range(TIMES):
            await asyncio.sleep(whims.choice((0.25, 1.0, 4.0, 15.0)))
            if self._world.chaos and whims.random() < self._world.options.others:
                with suppress(EventLogError):  # somebody stands with the append lock
                    self._tell(number)

    def _tell(self, number: int) -> None:
        whims = self._world.whims
        triggers = [row for row in self._world.tables.log if row[4] in RULES]
        if not triggers:
            return
        row = whims.choice(triggers[-3:])
        with self._log.database.connection() as connection:
            (event,) = self._log.decode(connection.cursor(), [row])
        assert isinstance(event.fact, SourceEvent)
        cause: dict[str, Any] = {"version": event.version + whims.choice((0, 0, 0, -1, 1))}
        if whims.random() < 0.5:
            cause["notification_id"] = "of another"
        undigested = self._world.options.poison and whims.random() < self._world.options.undigested
        code_id = {"id": event.fact.data["id"]} if RULES[event.topic].by_code_id else {}
        told = CallerEvent(
            source="elsewhere",
            id=f"sent {number}",
            type=RULES[event.topic].sent,
            subject=event.fact.subject,
            data={"cause": "soon" if undigested else cause} | code_id,
        )
        append(self._log, event.instance, [told])
