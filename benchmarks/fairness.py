"""How much one instance's backlog delays another instance's login code, and what the backlog pays for it.

A worker sends the backlog of invitations of one instance, refilled all the while so that it keeps its size,
and codes of another come in one by one. A code's time runs from its 2xx answer to its message in the
sandbox's ledger; the backlog's rate is counted in the log, with codes between and without. Both sizes are
measured in turns, in several rounds of which the medians count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any

import aiohttp
import msgspec
import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks.feeding import MAIL_CODE, person, session, trigger
from benchmarks.ground import Ground, ground
from benchmarks.refilling import Backlog, Worked, fill, kept_full
from event_log.api_keys import SCOPES, create_key
from tidings.composition import clock

QUIET = "quiet"
PROBES = 200
EVERY = 0.1
"""Seconds between codes."""
ROUNDS = 3
"""Of a measurement of each size."""
CALM = 8.0
"""Seconds of each measurement of the backlog's rate without codes."""
FIRST_PROBE = 10_000_000
"""Numbers of people: those of the quiet instance begin here."""
SPARE, QUICK_SPARE = 120_000, 40_000
"""The most that may be sent in a measurement."""
MOST_MS, MOST_RATIO, LEAST_RATE, LEAST_LEFT = 250, 1.2, 0.8, 0.9

_OPEN = "SELECT count(*) FROM due_notifications"
_BEHIND = """
SELECT count(*) FROM tracking
 WHERE projection IN ('handler', 'history') AND position < (SELECT max(notification_id) FROM events)
"""


class Measured(msgspec.Struct, frozen=True):
    left: float
    """Share of the backlog that was there after the measurement."""
    p50_ms: float
    p95_ms: float
    longest_ms: float
    rate: float
    """Of the backlog a second, while codes come."""
    rate_alone: float


async def measure(size: int, spare: int) -> Measured:
    async with ground() as place:
        backlog = Backlog(place.data, place.conninfo, size, spare)
        key = await asyncio.to_thread(_admit, backlog)
        await place.keep(["api", "handler"])
        async with session(key, patience=30) as web:
            await asyncio.to_thread(fill, backlog)
            for first in range(0, PROBES, 500):
                await _post(
                    place, web, [person(FIRST_PROBE + n) for n in range(first, min(first + 500, PROBES))]
                )
            await _until_settled(place, size)
            with kept_full(backlog) as worked:
                await place.keep(["worker"])
                return await _probe(place, web, backlog, worked)


def _admit(backlog: Backlog) -> str:
    """The quiet instance's key."""
    with backlog.log() as log:
        return create_key(log.database, QUIET, SCOPES, "bench", clock(), os.urandom)[1]


async def _until_settled(place: Ground, size: int) -> None:
    """All that was appended is decided and in the history, and its making costs nobody's measure anything."""
    while await _count(place, _OPEN) < size or await _count(place, _BEHIND):  # noqa: ASYNC110  # another process makes it true
        await asyncio.sleep(0.2)
    async with await psycopg.AsyncConnection.connect(place.conninfo, autocommit=True) as connection:
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")


async def _count(place: Ground, query: str) -> int:
    async with await psycopg.AsyncConnection.connect(place.conninfo) as connection:
        row = await (await connection.execute(query.encode())).fetchone()
        return int(row[0]) if row else 0


async def _probe(place: Ground, web: aiohttp.ClientSession, backlog: Backlog, worked: Worked) -> Measured:
    await asyncio.sleep(2)  # the worker warms up
    before = await _rate(worked, asyncio.sleep(CALM))
    told: dict[str, datetime] = {}
    rate = await _rate(worked, _ask(place, web, told))
    after = await _rate(worked, asyncio.sleep(CALM))
    left = await _count(place, _OPEN)
    waits = await _waits(place, told)
    return Measured(
        left=left / backlog.size,
        p50_ms=waits[len(waits) // 2],
        p95_ms=waits[int(len(waits) * 0.95)],
        longest_ms=waits[-1],
        rate=rate,
        rate_alone=(before + after) / 2,
    )


async def _rate(worked: Worked, meanwhile: Awaitable[None]) -> float:
    first, began = worked.sent, time.monotonic()
    await meanwhile
    return (worked.sent - first) / (time.monotonic() - began)


async def _ask(place: Ground, web: aiohttp.ClientSession, told: dict[str, datetime]) -> None:
    for number in range(FIRST_PROBE, FIRST_PROBE + PROBES):
        await _post(place, web, [trigger(number, MAIL_CODE)])
        told[f"user{number}@bench.example"] = datetime.now(UTC)
        await asyncio.sleep(EVERY)


async def _post(place: Ground, web: aiohttp.ClientSession, events: Sequence[dict[str, Any]]) -> None:
    headers = {"Content-Type": "application/cloudevents-batch+json"}
    async with web.post(f"{place.url}/v1/events", data=json.dumps(events), headers=headers) as answer:
        answer.raise_for_status()


async def _waits(place: Ground, told: dict[str, datetime]) -> list[float]:
    while True:
        arrived = {e["to"][0]: datetime.fromisoformat(e["received_at"]) for e in place.ledger()}
        if told.keys() <= arrived.keys():
            return sorted((arrived[who] - when).total_seconds() * 1000 for who, when in told.items())
        await asyncio.sleep(0.5)


async def main(sizes: Sequence[int], spare: int, rounds: int) -> int:
    taken = [[await measure(size, spare) for size in sizes] for _ in range(rounds)]
    small, large = (_medians(measured) for measured in zip(*taken, strict=True))
    show(taken, sizes)
    result = {
        "p95_ms_10k": round(small.p95_ms, 1),
        "p95_ms_100k": round(large.p95_ms, 1),
        "backlog_rate_kept": round(large.rate / large.rate_alone, 3),
        "backlog_left": round(min(small.left, large.left), 3),
        "rounds": rounds,
        "backlogs": list(sizes),
    }
    print(json.dumps(result))
    slower = large.p95_ms > MOST_MS or large.p95_ms > MOST_RATIO * small.p95_ms
    return int(slower or result["backlog_rate_kept"] < LEAST_RATE or result["backlog_left"] < LEAST_LEFT)


def _medians(measured: Sequence[Measured]) -> Measured:
    return Measured(*(median(getattr(one, name) for one in measured) for name in Measured.__struct_fields__))


def show(taken: Sequence[Sequence[Measured]], sizes: Sequence[int]) -> None:
    """Each round, small and large side by side."""
    table = Table("measure", *(f"{size:,} waiting" for _ in taken for size in sizes))
    for name in Measured.__struct_fields__:
        table.add_row(name, *(f"{getattr(one, name):.2f}" for pair in taken for one in pair))
    Console().print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backlogs", type=int, nargs=2, default=(10_000, 100_000), metavar="N")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="one round of 5,000 and 20,000")
    options = parser.parse_args()
    chosen = ((5_000, 20_000), QUICK_SPARE, 1) if options.quick else (options.backlogs, SPARE, options.rounds)
    sys.exit(asyncio.run(main(*chosen)))
