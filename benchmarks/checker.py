"""Compares what clients were told, what the log says and what the sandbox's ledger holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import psycopg

_TIMELINES = """
SELECT originator_id::text, array_agg(topic ORDER BY originator_version)
  FROM events
 WHERE starts_with(topic, 'notification.')
 GROUP BY originator_id
"""

_SENT, _CANCELLED = "notification.sent", "notification.cancelled"
_UNKNOWN, _RESEND, _DECLINED = (
    "notification.outcome.unknown",
    "notification.resend.requested",
    "notification.declined",
)


class Findings(msgspec.Struct):
    notifications: int = 0
    lost: int = 0
    """Accepted triggers without a decision, and decisions that came to no end."""
    closed_twice: int = 0
    unannounced: int = 0
    """Copies in the ledger beyond the first that the log had not announced."""
    announced: int = 0
    unknown: int = 0


def check(
    connection: psycopg.Connection[tuple[Any, ...]], accepted: int, message_ids: Sequence[str]
) -> Findings:
    """``accepted``: how many triggers clients were told were stored."""
    timelines: dict[str, list[str]] = dict(connection.execute(_TIMELINES).fetchall())
    copies = Counter(message_id.strip("<>").partition(".")[0] for message_id in message_ids)
    findings = Findings(notifications=len(timelines), lost=max(accepted - len(timelines), 0))
    for notification, topics in timelines.items():
        _judge(findings, topics, copies[notification])
    return findings


def _judge(findings: Findings, topics: Sequence[str], copies: int) -> None:
    times: Mapping[str, int] = Counter(topics)
    cycles = 1 + times.get(_RESEND, 0)
    endings = times.get(_SENT, 0) + times.get(_CANCELLED, 0)
    unknown = times.get(_UNKNOWN, 0)
    findings.closed_twice += endings > cycles
    findings.unknown += unknown
    allowed = cycles + unknown
    findings.announced += max(min(copies, allowed) - cycles, 0)
    findings.unannounced += max(copies - allowed, 0)
    parked = topics[-1] == _UNKNOWN
    ended = _SENT in times or _DECLINED in times or parked
    delivered_nothing = _SENT in times and copies == 0
    findings.lost += not ended or delivered_nothing
