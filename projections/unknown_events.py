"""What newer code has written: a trailing read model leaves such streams alone, and newer code takes them up.

While two versions run side by side the older one may lead. Passing over an event it does not know would
leave a row wrong for good, because nobody reads that position again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import Cursor

from event_log.envelope import RecordedEvent
from event_log.errors import UnknownTopic
from event_log.log import Log, read_stream
from projections import quarantine, tracking
from projections.history import History
from projections.quarantine import Poison


def readable(
    cursor: Cursor[Any], projection: str, events: Sequence[RecordedEvent]
) -> Sequence[RecordedEvent]:
    """The events to apply; unknown ones are set aside, and with them all that follows in their streams."""
    closed = quarantine.frozen(cursor, projection, (event.stream for event in events))
    if not closed and not any(isinstance(event.fact, UnknownTopic) for event in events):
        return events
    applied, unknown = [], []
    for event in events:
        if isinstance(event.fact, UnknownTopic):
            closed.add(event.stream)
            unknown.append(Poison(event, str(event.fact)))
        elif event.stream not in closed:
            applied.append(event)
    quarantine.set_aside(cursor, projection, unknown, events[-1].recorded_at)
    return applied


def take_up(log: Log, projection: History) -> None:
    """Tell the whole of the streams an older version left alone; what this one cannot read either stays."""
    with log.database.connection() as connection:
        cursor = connection.cursor()
        reached = tracking.position(cursor, projection.name)
        for stream in quarantine.streams(cursor, projection.name):
            events = [event for event in read_stream(log, stream) if event.position <= reached]
            if any(isinstance(event.fact, UnknownTopic) for event in events):
                continue
            with connection.transaction():
                projection.apply(connection, events)
                aside = quarantine.of_stream(cursor, projection.name, stream)
                quarantine.take_out(cursor, projection.name, [one.position for one in aside])
