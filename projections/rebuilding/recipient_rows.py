"""Recipients, learned anew from what callers appended, as far as the handler has read it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import msgspec
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from event_log.envelope import RecordedEvent, SourceEvent
from event_log.errors import Undecodable
from event_log.keyring import Owner
from event_log.log import Log
from event_log.mapper import key_id_of
from notification_domain.recipients import initial, types_that_tell
from notification_domain.source_events import InvalidData, interpret
from projections import handler
from projections.rebuilding.errors import Unfaithful
from projections.rebuilding.new_version import (
    PAGE,
    REMEMBERED,
    Topics,
    Tracked,
    Version,
    Writer,
    about,
    in_pages,
    queries,
)
from projections.rebuilding.tables import beside
from projections.recipients import Knowledge, Known, Row, learn, load_known, opened, save_known

_encode = msgspec.json.Encoder(order="deterministic").encode


class RecipientRows:
    table = "recipients"
    topics = Topics(names=types_that_tell())

    def __init__(self, log: Log, remembered: int = REMEMBERED) -> None:
        self.writer: Writer = Tracked(handler.NAME)
        self._log = log
        self._new = beside(self.table)
        self._remembered = remembered
        self._known: Knowledge = {}
        self._changed: Knowledge = {}
        """Not written yet."""
        self._any_written = False

    def apply(self, connection: Connection[TupleRow], events: Sequence[RecordedEvent]) -> None:
        cursor = connection.cursor(binary=True)
        sources = self._readable(cursor, events)
        self._recall(cursor, {_owner(event, source) for event, source in sources})
        for event, source in sources:
            self._learn(event, source)
        if len(self._known) > self._remembered:
            self._write(cursor)
            self._known.clear()

    def settle(self, cursor: Cursor[Any]) -> None:
        self._write(cursor)

    def content_hashes(self, *versions: Version) -> list[str]:
        return recipients_hashes(self._log, *versions)

    def _recall(self, cursor: Cursor[Any], owners: set[Owner]) -> None:
        missing = owners - self._known.keys()
        found = load_known(self._log, cursor, missing, self._new) if self._any_written else {}
        for owner in missing:
            blank = initial(owner[1])
            if blank is not None:
                self._known[owner] = found.get(owner) or Known(0, blank)

    def _learn(self, event: RecordedEvent, source: SourceEvent) -> None:
        owner = _owner(event, source)
        try:
            fact = interpret(source.type, source.data)
        except InvalidData as error:
            raise _unfaithful(event, str(error)) from error
        before = self._known.get(owner)
        if before is None or fact is None:
            return
        after = learn(before, event.version, fact)
        if after is not before:
            self._known[owner] = self._changed[owner] = after

    def _write(self, cursor: Cursor[Any]) -> None:
        for page in in_pages(self._changed.items()):
            save_known(self._log, cursor, dict(page), self._new)
            self._any_written = True
        self._changed.clear()

    def _readable(
        self, cursor: Cursor[Any], events: Sequence[RecordedEvent]
    ) -> list[tuple[RecordedEvent, SourceEvent]]:
        """What the handler took in: not the quarantined ones, and those of the erased no more."""
        aside = _quarantined(cursor, events)
        taken = [event for event in events if event.position not in aside]
        self._refuse_damaged(cursor, [event for event in taken if isinstance(event.fact, Undecodable)])
        return [(event, event.fact) for event in taken if isinstance(event.fact, SourceEvent)]

    def _refuse_damaged(self, cursor: Cursor[Any], unread: Sequence[RecordedEvent]) -> None:
        """Raises Unfaithful for an event that is unreadable although its key is still there."""
        if not unread:
            return
        cursor.execute(queries.states, {"positions": [event.position for event in unread]})
        key_ids = {position: key_id_of(state) for position, state in cursor.fetchall()}
        seals = self._log.keyring.for_reading(cursor, {key_id for key_id in key_ids.values() if key_id})
        for event in unread:
            key_id = key_ids[event.position]
            if key_id is None or key_id in seals:
                raise _unfaithful(event, str(event.fact))


def _quarantined(cursor: Cursor[Any], events: Sequence[RecordedEvent]) -> set[int]:
    if not events:
        return set()
    cursor.execute(
        queries.quarantined,
        {"projection": handler.NAME, "first": events[0].position, "last": events[-1].position},
    )
    return {position for (position,) in cursor.fetchall()}


def _owner(event: RecordedEvent, source: SourceEvent) -> Owner:
    return event.instance, source.subject


def _unfaithful(event: RecordedEvent, why: str) -> Unfaithful:
    return Unfaithful(
        f"the handler once read the event at position {event.position}, and it can be read no more "
        f"({why}): the recipients stay as they are."
    )


def recipients_hashes(log: Log, *versions: Version) -> list[str]:
    """Over what is known, whatever seals it; what is known of the erased is nothing.

    The versions are read side by side, so that a key is unwrapped once for all of them.
    """
    digests = [hashlib.sha256() for _ in versions]
    cursors = [connection.cursor(binary=True) for connection, _ in versions]
    pages = [_pages(cursor, table) for cursor, (_, table) in zip(cursors, versions, strict=True)]
    for abreast in zip_longest(*pages, fillvalue=[]):
        for digest, cursor, page in zip(digests, cursors, abreast, strict=True):
            for (instance, subject), known in opened(log, cursor, page):
                digest.update(_encode((instance, subject, None if isinstance(known, Undecodable) else known)))
    return [digest.hexdigest() for digest in digests]


def _pages(cursor: Cursor[Any], table: str) -> Iterator[list[Row]]:
    statement = about(queries.page_of_recipients, table=table)
    instance = subject = ""
    while True:
        cursor.execute(statement, {"instance": instance, "subject": subject, "limit": PAGE})
        page = cursor.fetchall()
        if not page:
            return
        yield page
        instance, subject = page[-1][:2]
