"""The log: transactions that append, and readers that follow positions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from event_log.database import Database
from event_log.deployment_key import DeploymentKey, Seal
from event_log.envelope import Envelope, Recorded, RecordedEvent
from event_log.errors import LostRace, Undecodable
from event_log.keyring import KeyId, Keyring, Owner
from event_log.mapper import Keys, LogMapper, Row, is_sealed, key_id_of
from event_log.recorder import Columns, LogRecorder
from event_log.sql import load

_queries = load("event_log", "log.sql")


class Log:
    """One process's way to the log. ``chance(n)`` gives n random bytes."""

    def __init__(self, database: Database, key: DeploymentKey, chance: Callable[[int], bytes]) -> None:
        self.database = database
        self.chance = chance
        self.keyring = Keyring(key, chance)
        self.secret_seal = Seal(key.derive("secrets"), chance)
        self.callback_seal = Seal(key.derive("callbacks"), chance)
        self.fingerprint_key = key.derive("fingerprints")
        self.recorder = LogRecorder(database.datastore)
        self.mapper = LogMapper()

    def open(self) -> None:
        """Refuse a database that is not fit, or not ours: raises DatabaseUnusable or LogUnavailable."""
        self.database.open()
        with self.database.connection() as connection:
            self.keyring.prove(connection.cursor())

    @contextmanager
    def appending(self) -> Iterator[Append]:
        """A transaction that holds the append lock from its first statement to its commit.

        Raises LogUnavailable when the lock or the server cannot be had, LostRace when somebody else
        took a version this transaction wanted.
        """
        with self.database.connection() as connection, self.turn(connection) as append:
            yield append

    @contextmanager
    def turn(self, connection: Connection[TupleRow]) -> Iterator[Append]:
        """As ``appending``, on a connection that has been used to prepare it."""
        append = Append(self, connection.cursor(binary=True))
        try:
            with self.recorder.turn(connection, append.wakes):
                yield append
        except psycopg.errors.UniqueViolation as error:
            raise LostRace(str(error)) from error

    def sealed(self, cursor: Cursor[Any], envelopes: Sequence[Envelope]) -> Columns | None:
        """Events as they will be stored, worked out before the append lock is had.

        None where somebody has no key yet: keys are made under the lock.
        """
        owners = _owners(envelopes)
        keys = self.keyring.known(cursor, owners) if owners else {}
        return self.columns(envelopes, keys) if len(keys) == len(owners) else None

    def columns(self, envelopes: Sequence[Envelope], keys: Keys) -> Columns:
        """Events as columns, sealed; ``keys`` holds those of all their owners."""
        bodies = [self.mapper.to_body(envelope, keys) for envelope in envelopes]
        return Columns(
            streams=[envelope.stream for envelope in envelopes],
            versions=[envelope.version for envelope in envelopes],
            topics=[topic for topic, _ in bodies],
            states=[state for _, state in bodies],
            instances=[envelope.instance for envelope in envelopes],
            event_ids=[envelope.event_id for envelope in envelopes],
        )

    def decode(self, cursor: Cursor[Any], rows: Sequence[Row]) -> list[RecordedEvent]:
        """Rows as events; keys are fetched once for all of them."""
        key_ids = [key_id_of(row[6]) for row in rows]
        needed = {key_id for key_id in key_ids if key_id}
        seals = self.keyring.for_reading(cursor, needed) if needed else {}
        return [
            RecordedEvent(*row[:6], self._fact(row, seals), key_id)
            for row, key_id in zip(rows, key_ids, strict=True)
        ]

    def _fact(self, row: Row, seals: Mapping[KeyId, Seal]) -> Recorded:
        try:
            return self.mapper.to_fact(row, seals)
        except Undecodable as reason:
            return reason


class Append:
    """What may be done while the append lock is held; one transaction, one commit."""

    def __init__(self, log: Log, cursor: Cursor[Any]) -> None:
        self.log = log
        self.cursor = cursor
        self.wakes: set[str] = set()
        """Readers to wake after the commit, by kind; only a hint, they poll behind it."""

    def versions(self, streams: Sequence[UUID]) -> dict[UUID, int]:
        """The current version of each stream, 0 for one that does not exist yet."""
        return versions(self.cursor, streams)

    def write(self, envelopes: Sequence[Envelope], *, wake: str, sealed: Columns | None = None) -> None:
        """Append events in this order. ``wake`` is the kind of reader to wake.

        ``sealed`` is what ``Log.sealed`` has made of them, if it could.
        """
        if envelopes:
            self.log.recorder.insert(self.cursor, sealed or self._sealed(envelopes))
            self.wake(wake)

    def _sealed(self, envelopes: Sequence[Envelope]) -> Columns:
        owners = _owners(envelopes)
        keys = self.log.keyring.for_writing(self.cursor, owners) if owners else {}
        return self.log.columns(envelopes, keys)

    def written(self) -> list[int]:
        """The positions of what was just written; to be asked for before any other statement."""
        return [position for (position,) in self.cursor.fetchall()]

    def wake(self, kind: str) -> None:
        """Wake this kind of readers after the commit."""
        self.wakes.add(kind)


def _owners(envelopes: Sequence[Envelope]) -> set[Owner]:
    return {(envelope.instance, envelope.subject) for envelope in envelopes if is_sealed(envelope)}


def versions(cursor: Cursor[Any], streams: Sequence[UUID]) -> dict[UUID, int]:
    """As ``Append.versions``, without the lock that keeps them as they are."""
    cursor.execute(_queries.versions, {"streams": list(streams)}, prepare=True)
    return dict(cursor.fetchall())


def read_streams(log: Log, streams: Sequence[UUID]) -> dict[UUID, list[RecordedEvent]]:
    """Whole streams, each oldest first."""
    with log.database.connection() as connection:
        return whole_streams(log, connection.cursor(binary=True), streams)


def whole_streams(log: Log, cursor: Cursor[Any], streams: Sequence[UUID]) -> dict[UUID, list[RecordedEvent]]:
    """As ``read_streams``, over a cursor."""
    cursor.execute(_queries.streams, {"streams": list(streams)}, prepare=True)
    found: dict[UUID, list[RecordedEvent]] = {}
    for event in log.decode(cursor, cursor.fetchall()):
        found.setdefault(event.stream, []).append(event)
    return found


def read_stream(log: Log, stream: UUID) -> list[RecordedEvent]:
    return read_streams(log, [stream]).get(stream, [])


class Page(msgspec.Struct, frozen=True):
    """The next positions of the log, as far as they concern a reader."""

    events: list[RecordedEvent]
    """Those of its kind, in order; the others stay in the database."""
    reached: int
    """The last position of the page, of whichever kind: here its tracking goes on."""
    passed: int
    """How many positions the page holds; 0 at the end of the log."""


def read_after(
    log: Log, cursor: Cursor[Any], position: int, limit: int, *, ours: bool, callers: bool
) -> Page:
    """The next ``limit`` positions after one, without gaps: our own events, those of callers, or both."""
    parameters = {"position": position, "limit": limit, "ours": ours, "callers": callers}
    cursor.execute(_queries.after, parameters, prepare=True)
    rows = cursor.fetchall()
    if not rows:
        return Page([], position, 0)
    reached, *_, state, place = rows[-1]
    return Page(log.decode(cursor, rows if state is not None else rows[:-1]), reached, place)


def head(cursor: Cursor[Any]) -> tuple[int, datetime | None]:
    """The last position and when it was recorded; 0 and None for an empty log."""
    cursor.execute(_queries.head, prepare=True)
    row = cursor.fetchone()
    return (row[0], row[1]) if row else (0, None)
