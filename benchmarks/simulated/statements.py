"""What each named statement does, in Python over the tables: the log, its keys and secrets, the read models.

Held to the same contract suite as PostgreSQL (tests/simulation).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import psycopg

from benchmarks.simulated.tables import Secret, Tables

Parameters: TypeAlias = Mapping[str, Any]
Result: TypeAlias = list[tuple[Any, ...]] | int
"""Rows, or how many were changed."""
Statement: TypeAlias = Callable[[Tables, Parameters], Result]

_RESERVED = ("notification.", "tidings.")

# --- the log --------------------------------------------------------------------------------------


def versions(tables: Tables, p: Parameters) -> Result:
    return _versions(tables, p["streams"])


def _versions(tables: Tables, streams: Sequence[Any]) -> list[tuple[Any, ...]]:
    return [(s, known[-1][3] if (known := tables.streams.get(s)) else 0) for s in streams]


def streams(tables: Tables, p: Parameters) -> Result:
    return [row for s in sorted(set(p["streams"])) for row in tables.streams.get(s, ())]


def after(tables: Tables, p: Parameters) -> Result:
    page = tables.after(p["position"], p["limit"])
    found: list[tuple[Any, ...]] = []
    for place, row in enumerate(page, 1):
        wanted = p["ours"] if row[4].startswith(_RESERVED) else p["callers"]
        if wanted or place == len(page):
            found.append((*row[:6], row[6] if wanted else None, place))
    return found


def head(tables: Tables, _: Parameters) -> Result:
    return [(tables.log[-1][0], tables.log[-1][5])] if tables.log else []


def insert_events(tables: Tables, p: Parameters) -> Result:
    columns = zip(
        p["streams"], p["versions"], p["topics"], p["states"], p["instances"], p["event_ids"], strict=True
    )
    positions = []
    for stream, version, topic, state, instance, event_id in columns:
        if (stream, version) in tables.events or (event_id is not None and event_id in tables.known_ids):
            raise psycopg.errors.UniqueViolation(f"{stream} {version}")
        position = tables.next_position()
        tables.add_event((position, instance, stream, version, topic, tables.now(), bytes(state)), event_id)
        positions.append((position,))
    return positions


def look_up(tables: Tables, p: Parameters) -> Result:
    known = [(event_id, tables.known_ids.get(event_id)) for event_id in set(p["event_ids"])]
    found: list[tuple[Any, ...]] = [(event_id, row[0], row[6][:34]) for event_id, row in known if row]
    return found + [(*row, None) for row in _versions(tables, p["streams"])]


def now(tables: Tables, _: Parameters) -> Result:
    return [(tables.now(),)]


# --- keys and secrets -----------------------------------------------------------------------------


def select_by_owner(tables: Tables, p: Parameters) -> Result:
    owners = zip(p["instances"], p["subjects"], strict=True)
    return [(*owner, *tables.keys[owner]) for owner in owners if owner in tables.keys]


def select_by_id(tables: Tables, p: Parameters) -> Result:
    return [(i, tables.keys_by_id[i]) for i in p["key_ids"] if i in tables.keys_by_id]


def insert_keys(tables: Tables, p: Parameters) -> Result:
    columns = zip(p["instances"], p["subjects"], p["key_ids"], p["wrapped_keys"], strict=True)
    for instance, subject, key_id, wrapped in columns:
        if (instance, subject) in tables.keys or key_id in tables.keys_by_id:
            raise psycopg.errors.UniqueViolation(subject)
        tables.keys.put((instance, subject), (key_id, wrapped))
        tables.keys_by_id.put(key_id, wrapped)
    return len(p["key_ids"])


def insert_secrets(tables: Tables, p: Parameters) -> Result:
    columns = zip(
        p["ids"], p["instances"], p["streams"], p["versions"], p["sealed"], p["expiries"], strict=True
    )
    for secret in (Secret(*values) for values in columns):
        if secret.secret_id in tables.secrets:
            raise psycopg.errors.UniqueViolation(str(secret.secret_id))
        tables.secrets.put(secret.secret_id, secret)
    return len(p["ids"])


def select_secrets(tables: Tables, p: Parameters) -> Result:
    return [(i, tables.secrets[i].sealed) for i in set(p["ids"]) if i in tables.secrets]


def is_kept(tables: Tables, p: Parameters) -> Result:
    secret = tables.secrets.get(p["id"])
    return [(secret is not None and (secret.expires_at is None or secret.expires_at > p["now"]),)]


def close(tables: Tables, p: Parameters) -> Result:
    closed = [tables.due[n] for n in p["notifications"] if n in tables.due]
    for row in closed:
        tables.due.drop(row.notification_id)
    causes = {"streams": [r.cause_stream for r in closed], "versions": [r.cause_version for r in closed]}
    return forget(tables, causes)


def forget(tables: Tables, p: Parameters) -> Result:
    closed = set(zip(p["streams"], p["versions"], strict=True))
    still_open = {(row.cause_stream, row.cause_version) for row in tables.due.values()}
    gone = [
        secret.secret_id
        for secret in tables.secrets.values()
        if (secret.stream_id, secret.stream_version) in closed - still_open and secret.expires_at is not None
    ]
    for secret_id in gone:
        tables.secrets.drop(secret_id)
    return len(gone)


def forget_expired(tables: Tables, p: Parameters) -> Result:
    over = [s for s in tables.secrets.values() if s.expires_at is not None and s.expires_at <= p["now"]]
    over = sorted(over, key=lambda secret: secret.expires_at)[: p["limit"]]
    for secret in over:
        tables.secrets.drop(secret.secret_id)
    return len(over)


# --- read models ----------------------------------------------------------------------------------


def position(tables: Tables, p: Parameters) -> Result:
    name = p["projection"]
    return [(tables.tracking[name],)] if name in tables.tracking else []


def begin(tables: Tables, p: Parameters) -> Result:
    if p["projection"] in tables.tracking:
        return 0
    tables.tracking.put(p["projection"], 0)
    return 1


def advance(tables: Tables, p: Parameters) -> Result:
    if tables.tracking.get(p["projection"]) != p["since"]:
        return []
    tables.tracking.put(p["projection"], p["to"])
    return [(p["to"],)]


def select_recipients(tables: Tables, p: Parameters) -> Result:
    owners = zip(p["instances"], p["subjects"], strict=True)
    return [(*owner, *tables.recipients[owner]) for owner in owners if owner in tables.recipients]


def upsert_recipients(tables: Tables, p: Parameters) -> Result:
    columns = zip(p["instances"], p["subjects"], p["versions"], p["sealed"], strict=True)
    for instance, subject, version, sealed in columns:
        tables.recipients.put((instance, subject), (version, sealed))
    return len(p["instances"])


def any_frozen(tables: Tables, p: Parameters) -> Result:
    return [(any(projection == p["projection"] for projection, _ in tables.quarantine),)]


def frozen(tables: Tables, p: Parameters) -> Result:
    wanted = set(p["streams"])
    held = {row[0] for key, row in tables.quarantine.items() if key[0] == p["projection"]}
    return [(stream,) for stream in sorted(wanted & held)]


def since(tables: Tables, p: Parameters) -> Result:
    topics = set(p["topics"])
    held: dict[Any, list[tuple[Any, ...]]] = {}
    for (name, place), row in tables.quarantine.items():
        if name == p["projection"]:
            held.setdefault(row[0], []).append((place, row[1], row[0], 0, None, row[3], None))
    rows: list[tuple[Any, ...]] = []
    for stream, version in sorted(zip(p["streams"], p["versions"], strict=True)):
        later = [row for row in tables.streams.get(stream, ()) if row[3] > version and row[4] in topics]
        rows += held.get(stream, []) + later
    return rows


def moved(tables: Tables, p: Parameters) -> Result:
    ours = set(p["streams"])
    went_on = any(row[0] > p["position"] and row[2] in ours for row in tables.log)
    waits = any(row[0] in ours for key, row in tables.quarantine.items() if key[0] == p["projection"])
    return [(tables.now() >= p["until"] or went_on or waits,)]


def set_aside(tables: Tables, p: Parameters) -> Result:
    columns = zip(p["positions"], p["streams"], p["instances"], p["reasons"], strict=True)
    added = 0
    for place, stream, instance, reason in columns:
        if (p["projection"], place) not in tables.quarantine:
            tables.quarantine.put((p["projection"], place), (stream, instance, reason, p["now"]))
            added += 1
    return added


def of_stream(tables: Tables, p: Parameters) -> Result:
    topics = {row[0]: row[4] for row in tables.streams.get(p["stream"], ())}
    return [
        (place, name, row[1], row[0], topics[place], row[2], row[3])
        for (name, place), row in sorted(tables.quarantine.items())
        if name == p["projection"] and row[0] == p["stream"]
    ]


def stream_at(tables: Tables, p: Parameters) -> Result:
    row = tables.quarantine.get((p["projection"], p["position"]))
    return [(row[1], row[0])] if row else []


def take_out(tables: Tables, p: Parameters) -> Result:
    keys = [
        (p["projection"], place) for place in p["positions"] if (p["projection"], place) in tables.quarantine
    ]
    for key in keys:
        tables.quarantine.drop(key)
    return len(keys)


# --- pauses ---------------------------------------------------------------------------------------


def paused(tables: Tables, p: Parameters) -> Result:
    return [((p["instance"], p["channel"]) in tables.pauses,)]


def put_pause(tables: Tables, p: Parameters) -> Result:
    if (p["instance"], p["channel"]) in tables.pauses:
        return 0
    tables.pauses.put((p["instance"], p["channel"]), p["position"])
    return 1


def remove_pause(tables: Tables, p: Parameters) -> Result:
    there = (p["instance"], p["channel"]) in tables.pauses
    tables.pauses.drop((p["instance"], p["channel"]))
    return int(there)
