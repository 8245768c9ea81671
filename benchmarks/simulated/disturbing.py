"""What comes at the worst moment, when an attempt has just begun: poison, a lock, an organisation's end."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from benchmarks.simulated.model import Calm, ModelDatabase, ModelLog
from benchmarks.simulated.rules import RULES
from benchmarks.simulated.world import World
from event_log.errors import EventLogError
from event_log.intake import CallerEvent, append
from workers.recording import Held, Subject

_BESIDE = {
    "user": ("user.domain.claimed.sent", "user.human.password.change.sent"),
    "session": ("session.otp.sms.sent", "session.otp.email.sent"),
}
"""By kind of subject: what does not bear on a message itself, one of them at least."""


def disturb(world: World, subject: Subject) -> None:
    """Perhaps; unless somebody stands with the append lock."""
    options, held = world.options, subject.held
    if not world.chaos:
        return
    if options.poison and world.whims.random() < options.undigested:
        source = held.request.source.subject
        kind = source.partition("/")[0]
        name = next(name for name in _BESIDE[kind] if name != RULES[held.request.rule].sent)
        _tell(world, held, name, source, {"cause": "soon"})
    if subject.user_id and world.whims.random() < options.locks:
        _tell(world, held, "user.locked", f"user/{subject.user_id}", {})
    organisation = subject.around[0].subject
    if organisation.startswith("organisation/") and world.whims.random() < 0.2:
        _tell(world, held, "org.removed", organisation, {})


def _tell(world: World, held: Held, name: str, subject: str, data: dict[str, Any]) -> None:  # of the event
    told = CallerEvent(
        source="elsewhere", id=f"after {world.tables.last_position}", type=name, subject=subject, data=data
    )
    log = ModelLog(ModelDatabase(world.tables, Calm(), world.loop.time), world.chance)
    with suppress(EventLogError):
        append(log, held.instance, [told])
        world.committed(["source"])
