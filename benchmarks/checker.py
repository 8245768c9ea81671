"""Compares what clients were told, what the log says and what the sandbox's ledger holds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import psycopg

from notification_domain import identity

INSTANCE = "bench"
SOURCE = "bench"

_TIMELINES = """
SELECT originator_id, array_agg(topic ORDER BY originator_version), max(recorded_at)
  FROM events
 WHERE starts_with(topic, 'notification.')
   AND topic <> 'notification.feedback.received'  -- told beside the story, even after its end
 GROUP BY originator_id
"""
_POSITIONS = "SELECT event_id, notification_id FROM events WHERE event_id IS NOT NULL"

_REQUESTED, _DECLINED = "notification.requested", "notification.declined"
_SENT, _CANCELLED = "notification.sent", "notification.cancelled"
_UNKNOWN, _RESEND = "notification.outcome.unknown", "notification.resend.requested"
_MESSAGE_ID = re.compile(rb"^Message-ID:\s*<([0-9a-f-]{36})\.", re.MULTILINE | re.IGNORECASE)


class Told(msgspec.Struct, frozen=True):
    """A trigger of which a client was told that it is stored."""

    event: str
    position: int
    rule: str
    expires_at: datetime
    phone: str = ""
    """Where its text message goes, for this notification alone; a mail names its notification itself."""

    @property
    def event_id(self) -> UUID:
        return identity.event_id(INSTANCE, SOURCE, self.event)

    @property
    def notification(self) -> UUID:
        return identity.notification_id(INSTANCE, self.event_id, self.rule)


class Findings(msgspec.Struct):
    notifications: int = 0
    lost: int = 0
    """Told and not in the log, not decided, not ended, ended before its time, or sent without a copy."""
    second_decisions: int = 0
    closed_twice: int = 0
    unannounced: int = 0
    """Copies in the ledger beyond the first that the log had not announced."""
    announced: int = 0
    unknown: int = 0
    arrived: int = 0
    """Copies of notifications with an unknown outcome."""
    suspects: list[str] = []


def check(
    connection: psycopg.Connection[tuple[Any, ...]],
    told: Iterable[Told],
    ledger: Sequence[Mapping[str, Any]],
) -> Findings:
    told = list(told)
    timelines = {row[0]: row[1:] for row in connection.execute(_TIMELINES).fetchall()}
    positions: dict[UUID, int] = dict(connection.execute(_POSITIONS).fetchall())
    copies = _copies(told, ledger)
    findings = Findings(notifications=len(told), suspects=[])
    findings.second_decisions = len(timelines.keys() - {one.notification for one in told})
    for one in told:
        stored = positions.get(one.event_id) == one.position
        topics, ended_at = timelines.get(one.notification, ((), one.expires_at))
        before = msgspec.structs.astuple(findings)[1:5]
        findings.lost += not stored or _is_lost(topics, copies[one.notification], ended_at < one.expires_at)
        _judge(findings, topics, copies[one.notification])
        if msgspec.structs.astuple(findings)[1:5] != before:
            story = f"{' '.join(topics)} ({copies[one.notification]} copies)"
            findings.suspects.append(f"{one.event} {one.notification}: {story}")
    return findings


def _copies(told: Iterable[Told], ledger: Iterable[Mapping[str, Any]]) -> Counter[UUID]:
    by_phone = {one.phone: one.notification for one in told if one.phone}
    return Counter(found for entry in ledger if (found := _notification_of(entry, by_phone)))


def _notification_of(entry: Mapping[str, Any], by_phone: Mapping[str, UUID]) -> UUID | None:
    if entry["channel"] == "sms":
        return by_phone.get(entry["to"][0])
    named = _MESSAGE_ID.search(msgspec.convert(entry["content"], bytes))
    return UUID(named[1].decode()) if named else None


def _is_lost(topics: Sequence[str], copies: int, early: bool) -> bool:
    """Neither delivered nor shown to a person, or given up while there was time."""
    if not topics:
        return True
    if _CANCELLED in topics:
        return early
    ended = topics[-1] in {_SENT, _DECLINED, _UNKNOWN}
    return not ended or (_SENT in topics and copies == 0)


def _judge(findings: Findings, topics: Sequence[str], copies: int) -> None:
    times = Counter(topics)
    cycles = 1 + times[_RESEND]
    unknown = times[_UNKNOWN]
    findings.second_decisions += times[_REQUESTED] + times[_DECLINED] > 1
    findings.closed_twice += times[_SENT] + times[_CANCELLED] > cycles
    findings.unknown += unknown
    findings.arrived += copies if unknown else 0
    findings.announced += max(min(copies, cycles + unknown) - cycles, 0)
    findings.unannounced += max(copies - cycles - unknown, 0)
