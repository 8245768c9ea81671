"""An operator who cancels, sends again, resolves, pauses, redrives, and makes the handler start over."""

from __future__ import annotations

import asyncio
from uuid import UUID

from benchmarks.simulated.loop import Process
from benchmarks.simulated.world import World
from event_log import commands, delivery_pauses
from event_log.commands import Order
from event_log.errors import EventLogError
from event_log.log import Log
from projections import redrive
from projections.handler import NAME

REDRIVE_EVERY = 60.0
"""Seconds between two redrives of an operator who has nothing else to do."""
_REQUESTED = frozenset({"notification.requested"})
_SENT = frozenset({"notification.sent"})


class Operating:
    """Works through the real commands; what it was told is remembered."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.told: list[tuple[str, UUID, object]] = []

    async def live(self, process: Process) -> None:
        world = self._world
        log = world.log_of(process)
        while world.chaos:
            await asyncio.sleep(world.random.choice((1.0, 8.0, 20.0)))
            if not world.chaos:
                return
            try:
                await asyncio.to_thread(self._do_something, log)
            except EventLogError:
                pass
            except Exception as error:  # noqa: BLE001  # a bug to report
                world.surprise("operator", error)

    def _do_something(self, log: Log) -> None:
        draw = self._world.random.random()
        if self._world.options.operator and draw < 0.7:
            self._command(log)
        elif self._world.options.operator and draw < 0.85:
            self._pause(log)
        elif self._world.options.stops and draw < 0.93:
            self._stop_a_worker()
        elif self._world.options.starts_over:
            self._world.tables.tracking.drop(NAME)
        elif self._world.options.poison:
            self._redrive(log)

    def _command(self, log: Log) -> None:
        world = self._world
        draw = int(world.random.random() * 7)
        wanted = _SENT if draw in {2, 3} else _REQUESTED  # mostly what has ended is sent again
        known = [row for row in world.tables.log if row[4] in wanted]
        if not known:
            return
        row = known[int(world.random.random() * len(known))]
        order = Order(row[2], row[1], "asked", "key")
        try:
            self._give(log, order, draw)
        except EventLogError as error:
            world.hear_excuse("operator", error)

    def _give(self, log: Log, order: Order, draw: int) -> None:
        world, wanted = self._world, order.notification
        now = world.clock_of(0)()
        match draw:
            case 0 | 1:
                self.told.append(("cancel", wanted, commands.cancel(log, order)))
            case 2 | 3 | 4:
                self.told.append(("resend", wanted, commands.resend(log, order, now, world.deployment)))
            case _:
                outcome = world.random.choice(("sent", "retry", "cancelled"))
                self.told.append(("resolve", wanted, commands.resolve(log, order, now, outcome)))

    def _pause(self, log: Log) -> None:
        random = self._world.random
        instance, channel = random.choice(("", "acme")), random.choice(("", "email"))
        if random.random() < 0.5:
            delivery_pauses.pause(log, instance, channel, "because", "key")
        else:
            delivery_pauses.resume(log, instance, channel, "because", "key")

    def _stop_a_worker(self) -> None:
        stoppers = [(p, stop) for p, stop in self._world.stoppers.items() if p.alive]
        if stoppers:
            process, stop = stoppers[int(self._world.random.random() * len(stoppers))]
            process.after(0.0, stop)

    def _redrive(self, log: Log) -> None:
        world = self._world
        aside = sorted(place for _, place in world.tables.quarantine)
        if aside:
            place = aside[int(world.random.random() * len(aside))]
            redrive.redrive(log, place, None, world.clock_of(0), world.deployment)

    async def heal(self, process: Process) -> None:
        """Ends every pause, then redrives whatever is set aside, again and again."""
        log = self._world.log_of(process)
        for instance in ("", "acme"):
            for channel in ("", "email"):
                delivery_pauses.resume(log, instance, channel, "healed", "key")
        while True:
            await asyncio.sleep(REDRIVE_EVERY)
            try:
                await asyncio.to_thread(self._redrive, log)
            except EventLogError:
                pass
            except Exception as error:  # noqa: BLE001  # a bug to report
                self._world.surprise("operator", error)
