"""Somebody who unlocks a user at the worst moment: when a worker has just seen that they are locked."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from benchmarks.simulated.model import Calm, ModelDatabase, ModelLog
from event_log.errors import EventLogError
from event_log.intake import CallerEvent, append

if TYPE_CHECKING:
    from benchmarks.simulated.world import World


def unlock(world: World, instance: str, user_id: str) -> None:
    """Unless somebody stands with the append lock."""
    log = ModelLog(ModelDatabase(world.tables, Calm(), world.loop.time), world.chance)
    name = f"after {world.tables.last_position}"
    event = CallerEvent(source="elsewhere", id=name, type="user.unlocked", subject=f"user/{user_id}")
    with suppress(EventLogError):
        append(log, instance, [event])
