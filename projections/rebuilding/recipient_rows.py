"""Recipients, learned anew from what callers appended, as far as the handler has read it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from itertools import zip_longest
from typing import Any, TypeAlias

import msgspec
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from event_log.envelope import RecordedEvent, SourceEvent
from event_log.errors import Undecodable
from event_log.keyring import KeyId, Owner
from event_log.log import Log
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
from projections.recipients import (
    Known,
    Row,
    Unsealed,
    decoded,
    key_id_of,
    learn,
    opened,
    sealed,
    stored,
    unsealed,
    write,
)

_encode = msgspec.json.Encoder(order="deterministic").encode

Person: TypeAlias = tuple[str, str, KeyId]
"""instance, subject and the key of what they appended: who was erased and came back is somebody else here."""


class RecipientRows:
    table = "recipients"
    topics = Topics(names=types_that_tell())

    def __init__(self, log: Log, remembered: int = REMEMBERED) -> None:
        self.writer: Writer = Tracked(handler.NAME)
        self._log = log
        self._new = beside(self.table)
        self._remembered = remembered
        self._known: dict[Person, Known] = {}
        self._changed: dict[Owner, Row] = {}
        """Not written yet."""
        self._any_written = False

    def apply(self, connection: Connection[TupleRow], events: Sequence[RecordedEvent]) -> None:
        cursor = connection.cursor(binary=True)
        tellings = self._readable(cursor, events)
        self._recall(cursor, {person for person, _, _ in tellings})
        changed = [person for person, event, source in tellings if self._learns(person, event, source)]
        # Each once, in the order of the log: who came back after erasure comes after who was erased.
        self._seal(cursor, dict.fromkeys(changed))
        if len(self._known) > self._remembered:
            self._write(cursor)
            self._known.clear()

    def settle(self, cursor: Cursor[Any]) -> None:
        self._write(cursor)

    def content_hashes(self, *versions: Version) -> list[str]:
        return recipients_hashes(self._log, *versions)

    def _recall(self, cursor: Cursor[Any], people: set[Person]) -> None:
        missing = people - self._known.keys()
        found = self._written(cursor, missing) if self._any_written else {}
        for person in missing:
            blank = initial(person[1])
            if blank is not None:
                self._known[person] = found.get(person) or Known(0, blank)

    def _written(self, cursor: Cursor[Any], people: set[Person]) -> dict[Person, Known]:
        """What the new version holds of them; raises Undecodable when one of its rows was altered."""
        rows = stored(cursor, {person[:2] for person in people}, self._new)
        key_ids = {row[:2]: key_id_of(row) for row in rows}
        found: dict[Person, Known] = {}
        for owner, known in opened(self._log, cursor, rows):
            if isinstance(known, Undecodable):
                raise known
            found[*owner, key_ids[owner]] = known
        return found

    def _learns(self, person: Person, event: RecordedEvent, source: SourceEvent) -> bool:
        """Whether it tells something new."""
        try:
            fact = interpret(source.type, source.data)
        except InvalidData as error:
            raise _unfaithful(event, str(error)) from error
        before = self._known.get(person)
        if before is None or fact is None:
            return False
        self._known[person] = after = learn(before, event.version, fact)
        return after is not before

    def _seal(self, cursor: Cursor[Any], people: Collection[Person]) -> None:
        """Under the keys that have just opened what they appended: a rebuild makes none, for nobody."""
        seals = self._log.keyring.for_reading(cursor, {key_id for _, _, key_id in people})
        for person in people:
            instance, subject, key_id = person
            if seal := seals.get(key_id):
                owner = instance, subject
                self._changed[owner] = sealed(owner, self._known[person], key_id, seal)

    def _write(self, cursor: Cursor[Any]) -> None:
        for page in in_pages(self._changed.values()):
            write(cursor, page, self._new)
            self._any_written = True
        self._changed.clear()

    def _readable(
        self, cursor: Cursor[Any], events: Sequence[RecordedEvent]
    ) -> list[tuple[Person, RecordedEvent, SourceEvent]]:
        """What the handler took in: not the quarantined ones, and those of the erased no more."""
        aside = _quarantined(cursor, events)
        taken = [event for event in events if event.position not in aside]
        self._refuse_damaged(cursor, [event for event in taken if isinstance(event.fact, Undecodable)])
        return [
            (_person(event, event.fact), event, event.fact)
            for event in taken
            if isinstance(event.fact, SourceEvent)
        ]

    def _refuse_damaged(self, cursor: Cursor[Any], unread: Sequence[RecordedEvent]) -> None:
        """Raises Unfaithful for an event that is unreadable although its key is still there."""
        seals = self._log.keyring.for_reading(cursor, {event.key_id for event in unread if event.key_id})
        for event in unread:
            if event.key_id is None or event.key_id in seals:
                raise _unfaithful(event, str(event.fact))


def _quarantined(cursor: Cursor[Any], events: Sequence[RecordedEvent]) -> set[int]:
    if not events:
        return set()
    cursor.execute(
        queries.quarantined,
        {"projection": handler.NAME, "first": events[0].position, "last": events[-1].position},
    )
    return {position for (position,) in cursor.fetchall()}


def _person(event: RecordedEvent, source: SourceEvent) -> Person:
    if event.key_id is None:
        raise _unfaithful(event, "it is stored in clear")
    return event.instance, source.subject, event.key_id


def _unfaithful(event: RecordedEvent, why: str) -> Unfaithful:
    return Unfaithful(
        f"the handler once read the event at position {event.position}, and it can be read no more "
        f"({why}): the recipients stay as they are."
    )


def recipients_hashes(log: Log, *versions: Version) -> list[str]:
    """Over what is known, whatever seals it; what is known of the erased is nothing.

    The versions are read side by side, so that a key is unwrapped once for all of them, and a page on which
    they agree is understood once.
    """
    digests = [hashlib.sha256() for _ in versions]
    cursors = [connection.cursor(binary=True) for connection, _ in versions]
    pages = [_pages(cursor, table) for cursor, (_, table) in zip(cursors, versions, strict=True)]
    told: list[Unsealed] = []
    text = b""
    for abreast in zip_longest(*pages, fillvalue=[]):
        for digest, cursor, page in zip(digests, cursors, abreast, strict=True):
            rows = unsealed(log, cursor, page)
            if rows != told:
                told, text = rows, b"".join(map(_text, rows))
            digest.update(text)
    return [digest.hexdigest() for digest in digests]


def _text(row: Unsealed) -> bytes:
    known = decoded(row)
    return _encode((*row[:2], None if isinstance(known, Undecodable) else known))


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
