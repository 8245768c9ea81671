"""What the statements of the due queue do: claims, leases and the fence, in Python over the tables.

Held to the same contract suite as PostgreSQL (tests/simulation).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from benchmarks.simulated.statements import Parameters, Result
from benchmarks.simulated.tables import Due, Tables

_PARKED_FROM = datetime(9999, 1, 1, tzinfo=UTC)
_COLUMNS = (
    "notification", "instance", "channel", "priority", "not_before", "expires_at",
    "cause_stream", "cause_version", "supersede_key", "retry",
)  # fmt: skip


def put(tables: Tables, p: Parameters) -> Result:
    for values in zip(*(p[name] for name in _COLUMNS), strict=True):
        fresh = Due(*values[:9], values[4], values[9])  # type: ignore[call-arg]  # ten of them
        known = tables.due.get(fresh.notification_id)
        if known is not None:
            fresh = replace(
                known,
                not_before=fresh.not_before,
                expires_at=fresh.expires_at,
                retry=fresh.retry,
                due_at=fresh.due_at,
                claims=0,
                lease_token=None,
                lease_until=None,
            )
        tables.due.put(fresh.notification_id, fresh)
    return len(p["notification"])


def remove(tables: Tables, p: Parameters) -> Result:
    there = [notification for notification in p["notifications"] if notification in tables.due]
    for notification in there:
        tables.due.drop(notification)
    return len(there)


def pull_forward(tables: Tables, p: Parameters) -> Result:
    later = list(zip(p["stream"], p["version"], p["supersede_key"], p["recorded_at"], strict=True))
    moved = 0
    for row in list(tables.due.values()):
        for stream, version, key, recorded_at in later:
            if (
                row.cause_stream == stream
                and row.cause_version < version
                and key in ("", row.supersede_key)
                and row.due_at > recorded_at
                and row.not_before < _PARKED_FROM
            ):
                tables.due.put(row.notification_id, replace(row, due_at=recorded_at))
                moved += 1
                break
    return moved


def waiting(tables: Tables, p: Parameters) -> Result:
    """Where something is to be claimed: what is due on channels that are served, what expired on others."""
    found: list[tuple[Any, ...]] = []
    for instance in sorted({row.instance_id for row in tables.due.values()}):
        channels = _served(tables, instance, p)
        free = [row for row in _free(tables, p) if row.instance_id == instance]
        for priority in p["priorities"]:
            for retry in p["retries"]:
                due = [row for row in free if (row.priority, row.retry) == (priority, retry)]
                moments = [row.due_at for row in due if row.due_at <= p["now"] and row.channel in channels]
                found += [(instance, priority, retry, min(moments), None)] if moments else []
        wanted = [row for row in free if row.priority in p["priorities"] and row.retry in p["retries"]]
        for channel in sorted({row.channel for row in wanted} - set(channels)):
            expired = [row for row in wanted if row.channel == channel and _has_expired(row, p)]
            first = min(expired, key=lambda row: row.expires_at, default=None)
            found += [(instance, first.priority, first.retry, first.due_at, channel)] if first else []
    return found


def claim(tables: Tables, p: Parameters) -> Result:
    due = _in_turn(tables, p)
    alone = bool(due) and due[0][1].claims >= 2
    chosen = due[:1] if alone else [(number, row) for number, row in due if row.claims < 2]
    return [(*_lease(tables, row, p), number, row.due_at) for number, row in chosen]


def _in_turn(tables: Tables, p: Parameters) -> list[tuple[int, Due]]:
    """From place to place, each its share, with the number of the place."""
    columns = (p[name] for name in ("instances", "priorities", "retries", "since", "unserved", "shares"))
    found: list[tuple[int, Due]] = []
    for number, (*place, share) in enumerate(zip(*columns, strict=True)):
        found += [(number, row) for row in _candidates(tables, tuple(place), p)[:share]]
    return found[: p["limit"]]


def claim_in_order(tables: Tables, p: Parameters) -> Result:
    now = tables.now()
    instances = sorted(
        {row.instance_id for row in tables.due.values()},
        key=lambda name: (p["recent"].index(name) if name in p["recent"] else -1, name <= p["after"], name),
    )
    heads = [head for name in instances if (head := _head(tables, name, p))][: p["limit"]]
    ends = [_expired(tables, name, p, deadly=False) for name in sorted(instances)]
    expired = [row for row in ends if row][: p["limit"]]
    free = [row for row in heads if row.lease_until is None or row.lease_until < now]
    if free and free[0].claims >= 2:  # noqa: SIM108  # as long as it is wide
        chosen = free[:1]
    else:
        chosen = [row for row in free if row.claims < 2] + expired
    if not chosen:
        ends = [_expired(tables, name, p, deadly=True) for name in sorted(instances)]
        chosen = [row for row in ends if row][:1]
    return [_lease(tables, row, p) for row in chosen]


def _head(tables: Tables, instance: str, p: Parameters) -> Due | None:
    """The first in the log of what is due; what its worker was lost with steps aside while it is leased."""
    channels, now = _served(tables, instance, p), tables.now()
    due = [
        row
        for row in tables.due.values()
        if row.instance_id == instance
        and row.retry in p["retries"]
        and row.due_at <= p["now"]
        and row.channel in channels
        and not (row.claims > 1 and row.lease_until is not None and row.lease_until >= now)
        and row.notification_id not in p["left_alone"]
    ]
    head: Due | None = min(
        due, key=lambda row: (row.due_at, tables.events[row.notification_id, 1][0]), default=None
    )
    return head


def _expired(tables: Tables, instance: str, p: Parameters, *, deadly: bool) -> Due | None:
    channels, now = _served(tables, instance, p), tables.now()
    for row in tables.due.values():
        if (
            row.instance_id == instance
            and row.expires_at <= p["now"]
            and row.not_before < _PARKED_FROM
            and (row.lease_until is None or row.lease_until < now)
            and row.channel not in channels
            and (row.claims >= 2) == deadly
            and row.notification_id not in p["left_alone"]
        ):
            found: Due = row
            return found
    return None


def _served(tables: Tables, instance: str, p: Parameters) -> list[str]:
    """The channels that are not paused, for this instance or for all."""
    return [
        channel
        for channel in p["channels"]
        if not any((i, c) in tables.pauses for i in ("", instance) for c in ("", channel))
    ]


def _candidates(tables: Tables, place: tuple[Any, ...], p: Parameters) -> list[Due]:
    instance, priority, retry, since, unserved = place
    kind = (instance, priority, retry)
    free = [row for row in _free(tables, p) if (row.instance_id, row.priority, row.retry) == kind]
    if unserved is not None:
        expired = [row for row in free if row.channel == unserved and _has_expired(row, p)]
        return sorted(expired, key=lambda row: row.expires_at)
    channels = _served(tables, instance, p)
    due = [row for row in free if since <= row.due_at <= p["now"] and row.channel in channels]
    return sorted(due, key=lambda row: row.due_at)


def _free(tables: Tables, p: Parameters) -> list[Due]:
    now = tables.now()
    return [
        row
        for row in tables.due.values()
        if (row.lease_until is None or row.lease_until < now) and row.notification_id not in p["left_alone"]
    ]


def _has_expired(row: Due, p: Parameters) -> bool:
    """What is parked has expired too, and waits for a person."""
    return bool(row.expires_at <= p["now"] and row.not_before < _PARKED_FROM)


def _lease(tables: Tables, row: Due, p: Parameters) -> tuple[Any, ...]:
    claims = min(row.claims + 1, 10000)
    leased = replace(row, lease_token=p["token"], lease_until=tables.now() + p["lease"], claims=claims)
    tables.due.put(row.notification_id, leased)
    return (row.notification_id, row.instance_id, p["token"], claims - 1)


def held(tables: Tables, p: Parameters) -> Result:
    end = tables.now() + p["margin"]
    ends = dict(zip(zip(p["notifications"], p["tokens"], strict=True), p["ends"], strict=True))
    return [
        (
            row.notification_id,
            row.lease_token,
            row.lease_until > end,
            _version(tables, row.notification_id),
            _version(tables, row.cause_stream) if ends[row.notification_id, row.lease_token] else 0,
            row.lease_until - p["margin"],
            tables.last_position,
        )
        for row in _claimed(tables, p)
    ]


def _version(tables: Tables, stream: UUID) -> int | None:
    known = tables.streams.get(stream)
    return known[-1][3] if known else None


def renew(tables: Tables, p: Parameters) -> Result:
    now = tables.now()
    running = [row for row in _claimed(tables, p) if row.lease_until > now]
    for row in running:
        tables.due.put(row.notification_id, replace(row, lease_until=now + p["lease"]))
    return [(row.notification_id,) for row in running]


def release(tables: Tables, p: Parameters) -> Result:
    mine = _claimed(tables, p)
    for row in mine:
        until = tables.now() + p["rest"] if p["rest"] is not None else None
        given_back = replace(row, lease_token=None, lease_until=until, claims=max(row.claims - 1, 0))
        tables.due.put(row.notification_id, given_back)
    return len(mine)


def _claimed(tables: Tables, p: Parameters) -> list[Any]:
    """The rows whose lease has the token that is shown."""
    shown = zip(p["notifications"], p["tokens"], strict=True)
    rows = [(tables.due.get(notification), token) for notification, token in shown]
    return [row for row, token in rows if row is not None and row.lease_token == token]


def next_due(tables: Tables, _: Parameters) -> Result:
    now = tables.now()
    free = [row.due_at for row in tables.due.values() if row.lease_until is None or row.lease_until < now]
    return [(min(free, default=None),)]


def depth(tables: Tables, p: Parameters) -> Result:
    waiting = [row.due_at for row in tables.due.values() if row.not_before < _PARKED_FROM]
    age = (p["now"] - min(waiting)).total_seconds() if waiting else 0.0
    return [(len(waiting), max(age, 0.0))]
