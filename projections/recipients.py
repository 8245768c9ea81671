"""The recipients read model: what is known now of users, sessions, organisations and the instance.

The handler writes it in its own transaction, so that a notification never meets a user who is "not
projected yet". Rows are sealed under their subject's key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from cryptography.exceptions import InvalidTag
from psycopg import Cursor

from event_log.deployment_key import Seal
from event_log.errors import Undecodable
from event_log.keyring import KEY_ID_BYTES, KeyId, Owner
from event_log.log import Log
from event_log.sql import load
from notification_domain.recipients import (
    KINDS,
    Instance,
    Organisation,
    Session,
    Subject,
    User,
    evolve,
    initial,
)
from notification_domain.source_events import Fact

_queries = load("projections", "recipients.sql")
_encode = msgspec.json.Encoder(order="deterministic").encode
_decoders = {kind: msgspec.json.Decoder(state) for kind, state in KINDS.items()}


class Known(msgspec.Struct, frozen=True, gc=False):
    """What is known of a subject, and the version of its stream that told it."""

    version: int
    state: Subject


Knowledge: TypeAlias = dict[Owner, Known]
Damaged: TypeAlias = dict[Owner, Undecodable]
"""Whose rows were altered, and what to do about it."""


Row: TypeAlias = tuple[str, str, int, bytes]
"""instance, subject, version, sealed state"""
Unsealed: TypeAlias = tuple[str, str, int, bytes]
"""The same with the state in clear, empty when it was altered."""


def learn(before: Known, version: int, fact: Fact) -> Known:
    """What is known after a fact of the subject's own stream; ``before`` itself when it tells nothing new."""
    if version <= before.version:
        return before
    after = evolve(before.state, fact)
    return before if after == before.state else Known(version, after)


def load_known(log: Log, cursor: Cursor[Any], owners: Iterable[Owner]) -> Knowledge:
    """What is known of the given (instance, subject) pairs; nothing is known of those that are missing.

    Raises Undecodable when one of their rows was altered.
    """
    found, damaged = load_readable(log, cursor, owners)
    for reason in damaged.values():
        raise reason
    return found


def load_readable(log: Log, cursor: Cursor[Any], owners: Iterable[Owner]) -> tuple[Knowledge, Damaged]:
    """As ``load_known``, with the damaged ones apart: they must not stop the others."""
    found: Knowledge = {}
    damaged: Damaged = {}
    for owner, known in opened(log, cursor, stored(cursor, set(owners))):
        if isinstance(known, Undecodable):
            damaged[owner] = known
        else:
            found[owner] = known
    return found, damaged


def stored(cursor: Cursor[Any], owners: Collection[Owner], table: str = "recipients") -> list[Row]:
    """The rows there are of these owners."""
    if not owners:
        return []
    cursor.execute(
        _queries.select.replace("JOIN recipients", f"JOIN {table}"),
        {"instances": [owner[0] for owner in owners], "subjects": [owner[1] for owner in owners]},
        prepare=True,
    )
    return cursor.fetchall()


def opened(log: Log, cursor: Cursor[Any], rows: Sequence[Row]) -> list[tuple[Owner, Known | Undecodable]]:
    """What rows hold, in their order; those of erased people are left out."""
    return [((row[0], row[1]), decoded(row)) for row in unsealed(log, cursor, rows)]


def unsealed(log: Log, cursor: Cursor[Any], rows: Sequence[Row]) -> list[Unsealed]:
    """The rows as they were before they were sealed, in their order; those of erased people are left out."""
    key_ids = [key_id_of(row) for row in rows]
    seals = log.keyring.for_reading(cursor, key_ids)
    return [
        (*row[:3], _unsealed(row, seal))
        for row, key_id in zip(rows, key_ids, strict=True)
        if (seal := seals.get(key_id))
    ]


def key_id_of(row: Row) -> KeyId:
    """Which key sealed it."""
    return row[3][:KEY_ID_BYTES].ljust(KEY_ID_BYTES, b"\0")


def _unsealed(row: Row, seal: Seal) -> bytes:
    try:
        return seal.open(row[3][KEY_ID_BYTES:], _associated(row[0], row[1]))
    except InvalidTag:
        return b""


def decoded(row: Unsealed) -> Known | Undecodable:
    _, subject, version, state = row
    try:
        return Known(version, _decoders[_kind(subject)].decode(state))
    except ValueError:
        return Undecodable(f"the row of {subject} in recipients was altered: rebuild recipients")


def save_known(log: Log, cursor: Cursor[Any], changed: Mapping[Owner, Known]) -> None:
    """Write what has changed; the caller holds the append lock, under which missing keys are made."""
    if not changed:
        return
    keys = log.keyring.for_writing(cursor, changed)
    write(cursor, [sealed(owner, known, *keys[owner]) for owner, known in changed.items()])


def sealed(owner: Owner, known: Known, key_id: KeyId, seal: Seal) -> Row:
    return (*owner, known.version, key_id + seal.seal(_encode(known.state), _associated(*owner)))


def write(cursor: Cursor[Any], rows: Sequence[Row], table: str = "recipients") -> None:
    instances, subjects, versions, sealed_states = zip(*rows, strict=True)
    cursor.execute(
        _queries.upsert.replace("INTO recipients", f"INTO {table}"),
        {
            "instances": list(instances),
            "subjects": list(subjects),
            "versions": list(versions),
            "sealed": list(sealed_states),
        },
        prepare=True,
    )


class Acquaintance(msgspec.Struct, frozen=True):
    """All that is known about whom a message goes to, and in whose name."""

    user: User = User()
    session: Session = Session()
    organisation: Organisation = Organisation()
    instance: Instance = Instance()


def acquaintance(knowledge: Knowledge, instance: str, subjects: Sequence[str]) -> Acquaintance:
    """The states of the named subjects by kind; what is not named or not known is blank."""
    found: dict[str, Subject] = {}
    for subject in (*subjects, "instance"):
        known = knowledge.get((instance, subject))
        blank = initial(subject)
        if blank is not None:
            found[_kind(subject)] = known.state if known else blank
    return Acquaintance(**found)  # type: ignore[arg-type]  # each kind has its own state


def subjects_of(user_id: str, organisation_id: str, source_subject: str) -> tuple[str, ...]:
    """The subjects to look up for a notification, the source's session among them."""
    session = source_subject if source_subject.startswith("session/") else ""
    user = f"user/{user_id}" if user_id else ""
    organisation = f"organisation/{organisation_id}" if organisation_id else ""
    return tuple(subject for subject in (session, user, organisation) if subject)


def pointed_at(known: Known) -> set[str]:
    """The subjects that belong with it: a session's user, a user's organisation."""
    match known.state:
        case Session(user_id, organisation_id):
            return set(subjects_of(user_id, organisation_id, ""))
        case User(organisation_id=organisation_id):
            return set(subjects_of("", organisation_id, ""))
        case _:
            return set()


def _kind(subject: str) -> str:
    return subject.partition("/")[0]


def _associated(instance: str, subject: str) -> bytes:
    return _encode(("recipients", instance, subject))
