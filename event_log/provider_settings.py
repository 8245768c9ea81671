"""An instance's SMS providers: folded from its stream when they are asked for, each time only what is new.

There is no table to trail behind the log: what was committed holds for the very next message. Beside it
stand the pauses of accounts at fault, which workers write and operators read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

import msgspec

from event_log.database import LogCursor
from event_log.envelope import RecordedEvent, SourceEvent
from event_log.log import Log
from event_log.sql import load
from notification_domain import identity
from notification_domain.provider_events import PREFIX, TYPES
from notification_domain.providers import Providers, evolve
from notification_domain.source_events import InvalidData, interpret

_queries = load("event_log", "provider_settings.sql")
SUBJECT = "instance"


class Stored(msgspec.Struct, frozen=True):
    """The providers up to a version of the instance's stream."""

    providers: Providers = Providers()
    version: int = 0
    unreadable: str = ""
    """Why they are not all known; empty when they are."""


class AccountPause(msgspec.Struct, frozen=True):
    """Nothing is attempted through this provider until then: its account is at fault."""

    provider: str
    until: datetime
    faults: int
    """How many in a row."""
    error: str


def newest(
    log: Log, cursor: LogCursor, instances: Collection[str], known: Mapping[str, Stored]
) -> dict[str, Stored]:
    """The providers of these instances as of now; ``known`` is what an earlier call gave."""
    found = {instance: known.get(instance, Stored()) for instance in instances}
    streams = {identity.stream_id(instance, SUBJECT): instance for instance in instances}
    parameters = {
        "streams": list(streams),
        "versions": [found[instance].version for instance in streams.values()],
        "prefix": PREFIX,
    }
    cursor.execute(_queries.since, parameters, prepare=True)
    for event in log.decode(cursor, cursor.fetchall()):
        found[event.instance] = _learnt(found[event.instance], event)
    return found


def _learnt(stored: Stored, event: RecordedEvent) -> Stored:
    if not isinstance(event.fact, SourceEvent):
        why = f"an event of its providers is unreadable: {event.fact}"
        return Stored(stored.providers, event.version, why)
    if event.topic not in TYPES:
        return Stored(stored.providers, event.version, stored.unreadable)
    try:
        fact = interpret(event.topic, event.fact.data)
    except InvalidData as error:
        return Stored(stored.providers, event.version, f"{event.topic} is not as it must be: {error}")
    return Stored(evolve(stored.providers, fact), event.version, stored.unreadable)  # type: ignore[arg-type]  # its type is known


def account_pauses(cursor: LogCursor, instance: str) -> dict[str, AccountPause]:
    """By provider."""
    cursor.execute(_queries.pauses, {"instance": instance}, prepare=True)
    return {row[0]: AccountPause(*row) for row in cursor.fetchall()}


def pause_account(cursor: LogCursor, instance: str, pause: AccountPause) -> None:
    cursor.execute(_queries.pause, {"instance": instance} | msgspec.structs.asdict(pause), prepare=True)


def lift_pause(cursor: LogCursor, instance: str, provider: str) -> None:
    cursor.execute(_queries.lift, {"instance": instance, "provider": provider}, prepare=True)
