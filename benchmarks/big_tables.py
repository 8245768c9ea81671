"""Tables as large as years make them, written straight with SQL: no decision, no seal, no commit of its own.

Rows have the shape, the indexes and about the size of real ones. What reads a body cannot read these.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from psycopg import sql

from benchmarks.own_log import Owner

EVENTS_A_NOTIFICATION = 4
PEOPLE_SHARE = 20
"""Notifications a person has had, on average."""

_INDEXES = """
SELECT i.indexrelid::regclass::text, c.conname,
       coalesce(pg_get_constraintdef(c.oid), pg_get_indexdef(i.indexrelid))
  FROM pg_index i
  LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype IN ('p', 'u')
 WHERE i.indrelid = %s::regclass
"""
_EVENTS = """
INSERT INTO events (originator_id, originator_version, topic, state, instance_id, event_id, recorded_at)
SELECT md5('notification ' || n / 4)::uuid, n %% 4 + 1, 'notification.sent',
       decode(repeat(md5(n::text), 36), 'hex'), 'past',
       CASE WHEN n %% 4 = 0 THEN md5('event ' || n)::uuid END,
       clock_timestamp()
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
"""
_DUE = """
INSERT INTO due_notifications (notification_id, instance_id, channel, priority, not_before, expires_at,
                               cause_stream, cause_version, supersede_key, due_at)
SELECT md5('due ' || n)::uuid,
       coalesce(%(instance)s, 'instance-' || lpad((n %% %(instances)s)::text, 5, '0')), 'email', 0,
       moment, moment + interval '1 year', md5('cause ' || n)::uuid, 1, 'rule', moment
  FROM generate_series(1, %(rows)s::bigint) AS n
 CROSS JOIN LATERAL (SELECT now() - %(ago)s::interval + n * interval '1 microsecond' AS moment) AS at
"""
_NOTIFICATIONS = """
INSERT INTO notifications (id, instance_id, state, reason, message_type, channel, user_id, organisation_id,
                           source, event_id, event_type, attempts, requested_at, closed_at, position, version)
SELECT md5('notification ' || n)::uuid, %(instance)s, state,
       CASE state WHEN 'cancelled' THEN (ARRAY['expired', 'rejected', 'attempts_exhausted'])[1 + n / 100 %% 3]
                  WHEN 'declined' THEN 'code_returned' END,
       (ARRAY['VerifyEmail', 'PasswordReset', 'InitCode', 'VerifyEmailOTP', 'InviteUser'])[1 + n %% 5],
       CASE WHEN n %% 1000 = 7 THEN 'webhook' WHEN n %% 5 = 1 THEN 'sms' ELSE 'email' END,
       'user-' || (hashint8(n) & 2147483647) %% greatest(%(people)s, 1), 'organisation-' || n %% 100,
       'auth', 'event-' || n, 'user.human.email.code.added', 1, moment,
       CASE WHEN state IN ('sent', 'cancelled', 'declined') THEN moment + interval '1 second' END, n * 4, 4
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
 CROSS JOIN LATERAL (
     SELECT CASE WHEN n %% 100 < 90 THEN 'sent' WHEN n %% 100 < 95 THEN 'cancelled'
                 WHEN n %% 100 < 98 THEN 'declined' WHEN n %% 1000 = 99 THEN 'parked'
                 ELSE 'waiting' END AS state,
            timestamptz '2026-01-01' + n * interval '5 seconds' AS moment) AS derived
"""


def write_events(owner: Owner, first: int, last: int) -> None:
    """Of notifications with four events each, by their numbers."""
    with _no_indexes(owner, "events"):
        owner.execute(_EVENTS, {"first": first, "last": last})
    settle(owner, "events")


def write_due(owner: Owner, rows: int, instances: int) -> None:
    """A backlog in the order in which it fell due, spread evenly over the instances."""
    with _no_indexes(owner, "due_notifications"):
        owner.execute("TRUNCATE due_notifications")
        ago = timedelta(hours=1)
        owner.execute(_DUE, {"rows": rows, "instance": None, "instances": instances, "ago": ago})
    settle(owner, "due_notifications")


def add_due(owner: Owner, rows: int, instance: str) -> None:
    """Behind those of that instance that are due already."""
    owner.execute(_DUE, {"rows": rows, "instance": instance, "instances": 1, "ago": timedelta()})
    settle(owner, "due_notifications")


def write_notifications(owner: Owner, instance: str, first: int, last: int) -> None:
    """Of the history: nine of ten sent, five message types, three channels, a hundred organisations."""
    with _no_indexes(owner, "notifications"):
        people = last // PEOPLE_SHARE
        owner.execute(_NOTIFICATIONS, {"instance": instance, "first": first, "last": last, "people": people})
    settle(owner, "notifications")


def settle(owner: Owner, table: str) -> None:
    """As it is long after it was written: known to the planner, nothing left to do at a first read."""
    owner.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(table)))
    owner.execute("CHECKPOINT")


@contextmanager
def _no_indexes(owner: Owner, table: str) -> Iterator[None]:
    """Built once at the end, which is many times quicker."""
    found = owner.execute(_INDEXES, [table]).fetchall()
    name = sql.Identifier(table)
    for index, constraint, _ in found:
        owner.execute(
            sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(name, sql.Identifier(constraint))
            if constraint
            else sql.SQL("DROP INDEX {}").format(sql.Identifier(index))
        )
    yield
    owner.execute("SET maintenance_work_mem = '512MB'")
    for _, constraint, definition in found:
        if constraint:
            owner.execute(
                sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(
                    name, sql.Identifier(constraint), sql.SQL(definition)
                )
            )
        else:
            owner.execute(definition)
