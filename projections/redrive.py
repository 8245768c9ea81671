"""Redrive: what the handler once set aside is handled again, in order, by the handler's own code.

It decides what was not decided and changes nothing that was; what still cannot be digested stays, with
its new reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from event_log import due_queue
from event_log.due_queue import Overtaken
from event_log.envelope import RecordedEvent
from event_log.errors import LogUnavailable
from event_log.log import Append, Log, read_stream
from notification_domain.policies import Deployment
from projections import quarantine
from projections.handler import NAME, consider, openings, store
from projections.quarantine import SetAside

_TRIES = 20


class Redriven(msgspec.Struct, frozen=True):
    handled: list[int]
    """Positions that have left the quarantine, in order."""
    remaining: list[SetAside]
    """Empty: the stream goes on as any other."""


def redrive(
    log: Log, position: int, instance: str | None, clock: Callable[[], datetime], deployment: Deployment
) -> Redriven | None:
    """Handle the whole frozen stream that has an event at ``position``.

    None when nothing is set aside there, or not of this instance.
    """
    with log.database.connection() as connection:
        found = quarantine.stream_at(connection.cursor(), NAME, position)
    if found is None or instance not in (None, found[0]):
        return None
    for _ in range(_TRIES):
        redriven = _try(log, found[1], clock, deployment)
        if redriven is not None:
            return redriven
    raise LogUnavailable(f"the stream of position {position} moves too fast to be caught")


def _try(log: Log, stream: UUID, clock: Callable[[], datetime], deployment: Deployment) -> Redriven | None:
    """None when its quarantine has changed meanwhile."""
    with log.database.connection() as connection:
        before = _positions(quarantine.of_stream(connection.cursor(), NAME, stream))
    # Read after that: no event that was set aside may be missing.
    history = read_stream(log, stream)
    with log.database.connection() as connection:
        cursor = connection.cursor()
        events = [event for event in history if event.position in before]
        outcome = consider(log, cursor, events, (), clock(), deployment)
    with log.appending() as append:
        if _positions(quarantine.of_stream(append.cursor, NAME, stream)) != before:
            return None
        quarantine.take_out(append.cursor, NAME, before)
        store(append, outcome, openings(log, append.cursor, outcome), events, clock())
        remaining = quarantine.of_stream(append.cursor, NAME, stream)
        if not remaining:
            _let_go_on(append, history[-1], clock())
    kept = _positions(remaining)
    return Redriven([position for position in before if position not in kept], remaining)


def _let_go_on(append: Append, newest: RecordedEvent, now: datetime) -> None:
    """What was held back while the stream was frozen is looked at again at once."""
    due_queue.pull_forward(append.cursor, [Overtaken(newest.stream, newest.version + 1, "", now)])
    append.wake("due")


def _positions(aside: Sequence[SetAside]) -> list[int]:
    return [one.position for one in aside]
