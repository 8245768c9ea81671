"""The due queue: one row an open notification, when it is due, and who holds its lease.

Rows are written in the transaction of the events they follow from; leases run on the database's clock,
on purpose, because it is the one clock all workers share.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
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


def claim(  # noqa: PLR0913  # what is due, for whom, how long
    cursor: Cursor[Any],
    now: datetime,
    *,
    limit: int,
    lease: timedelta,
    channels: Sequence[str],
    turn: Turn = NOBODYS_TURN,
    retries: Sequence[bool] = BOTH,
    priorities: Sequence[int] = EVERYTHING,
    in_order: bool = False,
    left_alone: Sequence[UUID] = (),
) -> list[Claim]:
    """Lease up to ``limit`` due notifications, round the instances, codes before invitations.

    With ``in_order`` one an instance at most, as they stand in the log, and none while the one in front is
    leased. One short statement that takes no append lock. A row that lost two claims is taken alone, and
    one that is ``left_alone`` is for others.
    """
    cursor.execute(
        _queries.claim_in_order if in_order else _queries.claim,
        {
            "now": now,
            "limit": limit,
            "lease": lease,
            "channels": list(channels),
            "recent": list(turn.recent),
            "after": turn.after,
            "retries": list(retries),
            "priorities": list(priorities),
            "left_alone": list(left_alone),
        },
        prepare=True,
    )
    return [Claim(*row) for row in cursor.fetchall()]


def instances_with_work(cursor: Cursor[Any], now: datetime) -> list[str]:
    """Those where something is due, the one that waits longest first."""
    cursor.execute(_queries.instances_with_work, {"now": now})
    return [instance for (instance,) in cursor.fetchall()]


class Standing(msgspec.Struct, frozen=True):
    """How it stands with a lease that nobody else has taken since."""

    runs: bool
    """On the database's clock; it counts as run out a margin before its end."""
    version: int
    """Of the notification's stream."""
    cause_version: int
    """Of the stream of its cause, as it is now; 0 where it was not asked for."""


def held(
    cursor: Cursor[Any], claims: Sequence[tuple[UUID, int]], ends: Sequence[bool] | None = None
) -> dict[UUID, Standing]:
    """The notifications whose lease (id, token) nobody else has taken since.

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
    return {row[0]: Standing(*row[1:]) for row in cursor.fetchall()}


def renew(cursor: Cursor[Any], claims: Sequence[tuple[UUID, int]], lease: timedelta) -> set[UUID]:
    """Extend leases that are still ours; those that were extended."""
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


def release(cursor: Cursor[Any], claims: Sequence[tuple[UUID, int]], rest: timedelta | None = None) -> None:
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
