"""Pausing and resuming delivery: events in a stream of settings, and the rows that claims look at.

A pause covers one channel or all, of one instance or of the whole deployment (an instance without a
name). Each is ended by a resume of just what it covers. What is claimed already goes out; expiry runs on.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from psycopg import Cursor

from event_log.envelope import Envelope, RecordedEvent
from event_log.log import Append, Log
from event_log.sql import load
from notification_domain.delivery_events import DeliveryPaused, DeliveryResumed, SettingsEvent
from notification_domain.identity import settings_id

_queries = load("event_log", "delivery_pauses.sql")

EVERYWHERE = ""
"""The instance that stands for the whole deployment; no instance can have this name."""
_STREAM = "delivery"


class Pause(msgspec.Struct, frozen=True):
    instance: str
    channel: str
    reason: str
    by: str
    since: datetime
    position: int


def pause(log: Log, instance: str, channel: str, reason: str, by: str) -> bool:
    """Whether it was not paused already."""
    with log.appending() as append:
        if _is_paused(append.cursor, instance, channel):
            return False
        _record(append, instance, DeliveryPaused(channel=channel, reason=reason, by=by))
        return True


def resume(log: Log, instance: str, channel: str, reason: str, by: str) -> bool:
    """Whether it was paused."""
    with log.appending() as append:
        if not _is_paused(append.cursor, instance, channel):
            return False
        _record(append, instance, DeliveryResumed(channel=channel, reason=reason, by=by))
        append.wake("due")
        append.wake("retries")
        return True


def pauses(log: Log, instance: str) -> list[Pause]:
    """What holds for an instance now, the oldest first: its own, and those of the whole deployment."""
    with log.database.connection() as connection:
        cursor = connection.cursor()
        cursor.execute(_queries.standing, {"instance": instance})
        found = log.decode(cursor, cursor.fetchall())
    return [_pause(event) for event in found]


def project(cursor: Cursor[Any], events: Iterable[RecordedEvent], table: str = "delivery_pauses") -> None:
    """Bring rows up to date with events of the log."""
    for event in events:
        if isinstance(event.fact, SettingsEvent):
            _project(cursor, event.instance, event.fact, event.position, table)


def _pause(event: RecordedEvent) -> Pause:
    fact = event.fact
    if not isinstance(fact, DeliveryPaused):
        return Pause(event.instance, "", f"({fact})", "", event.recorded_at, event.position)
    return Pause(event.instance, fact.channel, fact.reason, fact.by, event.recorded_at, event.position)


def _is_paused(cursor: Cursor[Any], instance: str, channel: str) -> bool:
    cursor.execute(_queries.paused, {"instance": instance, "channel": channel})
    row = cursor.fetchone()
    return bool(row and row[0])


def _record(append: Append, instance: str, fact: SettingsEvent) -> None:
    stream = settings_id(instance, _STREAM)
    version = append.versions([stream])[stream] + 1
    envelope = Envelope(instance=instance, stream=stream, version=version, subject=_STREAM, fact=fact)
    append.write([envelope], wake="settings")
    (position,) = append.written()
    _project(append.cursor, instance, fact, position, "delivery_pauses")


def _project(cursor: Cursor[Any], instance: str, fact: SettingsEvent, position: int, table: str) -> None:
    statement = _queries.put if isinstance(fact, DeliveryPaused) else _queries.remove
    cursor.execute(
        statement.replace("delivery_pauses", table),
        {"instance": instance, "channel": fact.channel, "position": position},
    )
