"""The due queue: one row an open notification, when it is due, and who holds its lease.

Rows are written in the transaction of the events they follow from; leases run on the database's clock,
on purpose, because it is the one clock all workers share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

import msgspec
from psycopg import Cursor

from event_log.sql import load
from notification_domain.identity import stream_id
from notification_domain.notification import (
    Attempting,
    Parked,
    State,
    Transmitting,
    Waiting,
)

_queries = load("event_log", "due_queue.sql")

NEVER = datetime(9999, 12, 31, tzinfo=UTC)
"""When a parked notification is due: a person has to resolve it."""
FENCE_MARGIN = timedelta(seconds=2)
"""A lease that ends sooner than this counts as lost."""


Lease: TypeAlias = tuple[UUID, int]
"""Notification and token. One process may hold an old one of a notification, and a new one."""


class DueRow(msgspec.Struct, frozen=True):
    """The projection of one open notification; without the lease columns."""

    notification: UUID
    instance: str
    channel: str
    priority: int
    not_before: datetime
    expires_at: datetime
    cause_stream: UUID
    cause_version: int
    supersede_key: str
    retry: bool = False
    """It has come to an outcome in this cycle."""


class Claim(msgspec.Struct, frozen=True):
    """A lease on one due notification."""

    notification: UUID
    instance: str
    token: int
    lost_claims: int
    """Earlier claims that ended without a word since the last recorded outcome."""
    place: int = 0
    """Which of the places that were asked it comes from."""
    due_at: datetime = NEVER


def due_row(notification: UUID, instance: str, state: State) -> DueRow | None:
    """The row a folded notification has in the queue; None when it is closed."""
    match state:
        case Waiting(progress) | Attempting(progress) | Transmitting(progress):
            when = progress.not_before
        case Parked(progress):
            when = NEVER
        case _:
            return None
    request = progress.request
    return DueRow(
        notification=notification,
        instance=instance,
        channel=request.channel,
        priority=request.priority,
        not_before=when,
        expires_at=progress.expires_at,
        cause_stream=stream_id(instance, request.source.subject),
        cause_version=request.source.version,
        supersede_key=request.supersede_key,
        retry=progress.backoff is not None or progress.unknowns > 0,
    )


def put(cursor: Cursor[Any], rows: Sequence[DueRow], table: str = "due_notifications") -> None:
    """Insert or replace rows and release their leases: the outcome that put them here is recorded."""
    if rows:
        columns = {name: [getattr(row, name) for row in rows] for name in DueRow.__struct_fields__}
        statement = _queries.put.replace("due_notifications", table)
        cursor.execute(statement, columns, prepare=True)


def remove(cursor: Cursor[Any], notifications: Sequence[UUID], table: str = "due_notifications") -> None:
    if notifications:
        statement = _queries.remove.replace("due_notifications", table)
        cursor.execute(statement, {"notifications": list(notifications)}, prepare=True)


class Overtaken(msgspec.Struct, frozen=True):
    """A source event that bears on older notifications of its stream, by key or, with an empty key, all."""

    stream: UUID
    version: int
    supersede_key: str
    recorded_at: datetime


def pull_forward(
    cursor: Cursor[Any], overtaken: Sequence[Overtaken], table: str = "due_notifications"
) -> None:
    """Make what was overtaken due at once, so that a worker looks at it again."""
    if overtaken:
        columns = {name: [getattr(row, name) for row in overtaken] for name in Overtaken.__struct_fields__}
        statement = _queries.pull_forward.replace("due_notifications", table)
        cursor.execute(statement, columns, prepare=True)


class Turn(msgspec.Struct, frozen=True):
    """Whose turn it is in a claim that does not reach everybody."""

    recent: tuple[str, ...] = ()
    """Instances served lately, the one served longest ago first; all others come before them."""
    after: str = ""
    """Among those others the round begins behind this instance."""


NOBODYS_TURN = Turn()
BOTH = (False, True)
"""First attempts and retries."""
CODES = (0,)
EVERYTHING = (0, 1, 2)
"""Priorities: codes, then notices, then invitations."""
_AT_ONCE = 8
"""Places that share a claim, where so many have as much; the others have their turn in the next."""


def new_token(chance: Callable[[int], bytes]) -> int:
    """A lease token that nobody else has: a random number below 2**63."""
    return int.from_bytes(chance(8)) >> 1


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be claimed, for whom and how long."""

    now: datetime
    limit: int
    lease: timedelta
    token: int
    """Of all the leases of this claim."""
    channels: Sequence[str]
    retries: Sequence[bool] = BOTH
    priorities: Sequence[int] = EVERYTHING
    left_alone: Sequence[UUID] = ()
    """For others."""


class Place(msgspec.Struct, frozen=True):
    """Where something is due: an instance's codes, say, that had no attempt yet."""

    instance: str
    priority: int
    retry: bool
    since: datetime
    """Nothing that is due earlier is to be claimed there."""
    unserved: str | None = None
    """A channel that is paused, or that nobody serves: only what has expired is claimed."""


def waiting(cursor: Cursor[Any], wanted: Wanted) -> list[Place]:
    """Wherever there is something to claim, in no order: a look round the whole queue."""
    cursor.execute(_queries.waiting, _parameters(wanted), prepare=True)
    return [Place(*row) for row in cursor.fetchall()]


def in_turn(places: Sequence[Place], turn: Turn) -> list[Place]:
    """Codes before invitations; then who is not remembered, and then who was served longest ago."""
    served = {instance: number for number, instance in enumerate(turn.recent)}
    return sorted(
        places,
        key=lambda place: (
            place.priority,
            served.get(place.instance, -1),
            place.instance <= turn.after,
            place.instance,
            place.retry,
            place.unserved or "",
        ),
    )


def claim(cursor: Cursor[Any], wanted: Wanted, places: Sequence[Place]) -> list[Claim]:
    """Lease what is due at these places, in their order, each its share.

    One short statement that takes no append lock. A row that lost two claims is taken alone.
    """
    columns = {
        "instances": [place.instance for place in places],
        "priorities": [place.priority for place in places],
        "retries": [place.retry for place in places],
        "since": [place.since for place in places],
        "unserved": [place.unserved for place in places],
        "shares": shares(places, wanted.limit),
    }
    cursor.execute(_queries.claim, _parameters(wanted) | columns, prepare=True)
    return [Claim(*row) for row in cursor.fetchall()]


def shares(places: Sequence[Place], limit: int) -> list[int]:
    """How much of a claim each may have: the same within a priority, and the last one what is left."""
    crowds = Counter(place.priority for place in places)
    equal = [-(-limit // min(crowds[place.priority], _AT_ONCE)) for place in places]
    return [*equal[:-1], limit]


def claim_in_order(cursor: Cursor[Any], wanted: Wanted, turn: Turn = NOBODYS_TURN) -> list[Claim]:
    """Lease one an instance at most, as they stand in the log, and none while the one in front is leased."""
    turns = {"recent": list(turn.recent), "after": turn.after}
    cursor.execute(_queries.claim_in_order, _parameters(wanted) | turns, prepare=True)
    return [Claim(*row) for row in cursor.fetchall()]


def _parameters(wanted: Wanted) -> dict[str, object]:
    return {
        name: list(value) if isinstance(value, tuple | list) else value
        for name in Wanted.__struct_fields__
        for value in [getattr(wanted, name)]
    }


class Standing(msgspec.Struct, frozen=True):
    """How it stands with a lease that nobody else has taken since."""

    runs: bool
    """On the database's clock; it counts as run out a margin before its end."""
    version: int
    """Of the notification's stream."""
    cause_version: int
    """Of the stream of its cause, as it is now; 0 where it was not asked for."""
    until: datetime
    """When it counts as run out, on the database's clock."""
    position: int
    """The last of the log when this was so."""


def held(
    cursor: Cursor[Any], claims: Sequence[Lease], ends: Sequence[bool] | None = None
) -> dict[Lease, Standing]:
    """The leases that nobody else has taken since.

    ``ends`` says of each whether the version of its cause's stream is asked for too.
    """
    cursor.execute(
        _queries.held,
        {
            "notifications": [notification for notification, _ in claims],
            "tokens": [token for _, token in claims],
            "ends": [False] * len(claims) if ends is None else list(ends),
            "margin": FENCE_MARGIN,
        },
        prepare=True,
    )
    return {row[:2]: Standing(*row[2:]) for row in cursor.fetchall()}


def renew(cursor: Cursor[Any], claims: Sequence[Lease], lease: timedelta) -> set[UUID]:
    """Extend leases that are still ours; those that were extended. Waits for nobody."""
    cursor.execute(
        _queries.renew,
        {
            "notifications": [notification for notification, _ in claims],
            "tokens": [token for _, token in claims],
            "lease": lease,
        },
        prepare=True,
    )
    return {notification for (notification,) in cursor.fetchall()}


def release(cursor: Cursor[Any], claims: Sequence[Lease], rest: timedelta | None = None) -> None:
    """Give leases back unused: the claims do not count as lost. For a ``rest`` nobody claims them."""
    if claims:
        cursor.execute(
            _queries.release,
            {
                "notifications": [notification for notification, _ in claims],
                "tokens": [token for _, token in claims],
                "rest": rest,
            },
            prepare=True,
        )


def next_due(cursor: Cursor[Any]) -> datetime | None:
    """When the next unleased row is due, None when nothing is."""
    cursor.execute(_queries.next_due, prepare=True)
    row = cursor.fetchone()
    return row[0] if row else None


def depth(cursor: Cursor[Any], now: datetime) -> tuple[int, float]:
    """How many notifications are open, and the age in seconds of the longest overdue one."""
    cursor.execute(_queries.depth, {"now": now}, prepare=True)
    row = cursor.fetchone()
    return (row[0], row[1]) if row else (0, 0.0)
