"""How much one instance's backlog delays another instance's login code, and what the backlog pays for it.

A worker sends the backlog of invitations of one instance while codes of another come in one by one. A code's
time runs from its 2xx answer to its message in the sandbox's ledger; the backlog's rate is counted in the
log, with codes between and without.
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
from typing import Any

import aiohttp
import msgspec
import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks.feeding import INVITATION, MAIL_CODE, person, session, trigger
from benchmarks.ground import Ground, ground
from event_log.api_keys import SCOPES, create_key
from event_log.intake import CallerEvent, append
from event_log.log import Log
from tidings.composition import clock, open_log
from tidings.settings import Settings

NOISY, QUIET = "bench", "quiet"
LOAD = 1000
"""Events of the backlog a transaction."""
PROBES = 200
EVERY = 0.1
"""Seconds between codes."""
CALM = 8.0
"""Seconds of each measurement of the backlog's rate without codes."""
FIRST_PROBE = 10_000_000
"""Numbers of people: those of the quiet instance begin here."""
MOST_MS, MOST_RATIO, LEAST_RATE = 250, 1.2, 0.8

_SENT = """
SELECT count(*) FROM events WHERE instance_id = 'bench' AND topic = 'notification.sent'
"""
_OPEN = "SELECT count(*) FROM due_notifications"


class Measured(msgspec.Struct, frozen=True):
    backlog: int
    p50_ms: float
    p95_ms: float
    longest_ms: float
    rate: float
    """Of the backlog a second, while codes come."""
    rate_alone: float


async def measure(backlog: int) -> Measured:
    async with ground() as place:
        key = await asyncio.to_thread(_fill, place, backlog)
        await place.keep(["api", "handler"])
        async with session(key, patience=30) as web:
            await _until_decided(place, backlog)
            for first in range(0, PROBES, 500):
                await _post(
                    place, web, [person(FIRST_PROBE + n) for n in range(first, min(first + 500, PROBES))]
                )
            await place.keep(["worker"])
            return await _probe(place, web, backlog)


def _fill(place: Ground, backlog: int) -> str:
    """Append straight to the log what would take long over REST; the quiet instance's key."""
    with open_log(Settings(data_dir=place.data), place.conninfo, "bench") as log:
        for first in range(0, backlog, LOAD // 2):
            numbers = range(first, min(first + LOAD // 2, backlog))
            _append(log, [e for n in numbers for e in (person(n), trigger(n, INVITATION))])
        return create_key(log.database, QUIET, SCOPES, "bench", clock(), os.urandom)[1]


def _append(log: Log, events: Sequence[dict[str, Any]]) -> None:
    append(
        log,
        NOISY,
        [
            CallerEvent(source=e["source"], id=e["id"], type=e["type"], subject=e["subject"], data=e["data"])
            for e in events
        ],
    )


async def _until_decided(place: Ground, backlog: int) -> None:
    while await _count(place, _OPEN) < backlog:  # noqa: ASYNC110  # another process makes it true
        await asyncio.sleep(0.2)


async def _count(place: Ground, query: str) -> int:
    async with await psycopg.AsyncConnection.connect(place.conninfo) as connection:
        row = await (await connection.execute(query.encode())).fetchone()
        return int(row[0]) if row else 0


async def _probe(place: Ground, web: aiohttp.ClientSession, backlog: int) -> Measured:
    await asyncio.sleep(2)  # the worker warms up
    before = await _rate(place, asyncio.sleep(CALM))
    told: dict[str, datetime] = {}
    rate = await _rate(place, _ask(place, web, told))
    after = await _rate(place, asyncio.sleep(CALM))
    waits = await _waits(place, told)
    return Measured(
        backlog=backlog,
        p50_ms=waits[len(waits) // 2],
        p95_ms=waits[int(len(waits) * 0.95)],
        longest_ms=waits[-1],
        rate=rate,
        rate_alone=(before + after) / 2,
    )


async def _rate(place: Ground, meanwhile: Awaitable[None]) -> float:
    first, began = await _count(place, _SENT), time.monotonic()
    await meanwhile
    return (await _count(place, _SENT) - first) / (time.monotonic() - began)


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


async def main(sizes: Sequence[int]) -> int:
    small, large = [await measure(size) for size in sizes]
    table = Table("measure", *(f"{m.backlog:,} waiting" for m in (small, large)))
    for name in ("p50_ms", "p95_ms", "longest_ms", "rate", "rate_alone"):
        table.add_row(name, *(f"{getattr(m, name):.1f}" for m in (small, large)))
    Console().print(table)
    result = {
        "p95_ms_10k": round(small.p95_ms, 1),
        "p95_ms_100k": round(large.p95_ms, 1),
        "backlog_rate_kept": round(large.rate / large.rate_alone, 3),
    }
    print(json.dumps(result))
    slower = large.p95_ms > MOST_RATIO * small.p95_ms
    return 1 if large.p95_ms > MOST_MS or slower or result["backlog_rate_kept"] < LEAST_RATE else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backlogs", type=int, nargs=2, default=(10_000, 100_000), metavar="N")
    parser.add_argument("--quick", action="store_true", help="10,000 and 20,000")
    options = parser.parse_args()
    sys.exit(asyncio.run(main((10_000, 20_000) if options.quick else options.backlogs)))
