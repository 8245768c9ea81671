"""kill -9 of a worker that holds leases: how long until what it held goes out through another one.

The bound is the lease period plus one second. The provider takes no message while the victim is there, so
that it dies with everything it claimed in its hands.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time

import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks.feeding import MAIL_CODE, Client, person, session, trigger
from benchmarks.ground import Ground, ground

BOUND_ABOVE_LEASE = 1.0
ROUNDS = 5
HELD = 50
_LEASED = "SELECT count(*) FROM due_notifications WHERE lease_until > clock_timestamp()"
_SENT = "SELECT count(*) FROM events WHERE topic = 'notification.sent'"


async def measure(place: Ground, client: Client, first: int, count: int) -> tuple[float, float]:
    """Seconds from the kill to the first and the last of the messages."""
    await client.append([person(number) for number in range(first, first + count)])
    with psycopg.connect(place.conninfo, autocommit=True) as connection:
        before = _count(connection, _SENT)
        # It stops just where it holds all its leases and has sent nothing.
        victim = await place.spawn("worker-victim", TIDINGS_FAILPOINTS="worker.started=stop")
        await victim.ready.wait()
        await client.append([trigger(number, MAIL_CODE) for number in range(first, first + count)])
        await victim.stopped.wait()
        held = _count(connection, _LEASED)
        victim.kill()
        began = time.monotonic()
        survivor = await place.spawn("worker-survivor")
        firsts = await _until(connection, before + 1) - began
        lasts = await _until(connection, before + held) - began
        await _until(connection, before + count)
        survivor.kill()
        await survivor.ended.wait()
    return firsts, lasts


def _count(connection: psycopg.Connection[tuple[int]], query: str) -> int:
    row = connection.execute(query).fetchone()  # type: ignore[call-overload]  # one of ours
    return int(row[0]) if row else 0


async def _until(connection: psycopg.Connection[tuple[int]], sent: int) -> float:
    while _count(connection, _SENT) < sent:  # noqa: ASYNC110  # another process makes it true
        await asyncio.sleep(0.02)
    return time.monotonic()


async def main(lease: float, rounds: int) -> int:
    period = {
        "TIDINGS_WORKERS__LEASE_PERIOD": f"{lease:g}s",
        "TIDINGS_WORKERS__DISPATCH_TIMEOUT": f"{lease - 2:g}s",
    }
    async with ground(**period) as place, session(place.key) as web:
        await place.keep(["api", "handler"])
        client = Client(place.url, web)
        measured = [await measure(place, client, turn * HELD, HELD) for turn in range(rounds)]
    result = {
        "lease_s": lease,
        "first_s": round(max(first for first, _ in measured), 2),
        "last_s": round(max(last for _, last in measured), 2),
    }
    table = Table("measure", "seconds", title=f"kill -9 of a worker with leases held, worst of {rounds}")
    for name, value in result.items():
        table.add_row(name, f"{value:g}")
    Console().print(table)
    print(json.dumps(result))
    return 0 if result["last_s"] <= lease + BOUND_ABOVE_LEASE else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lease", type=float, default=10.0, help="seconds")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="one round with a lease of 4 s")
    options = parser.parse_args()
    chosen = (4.0, 1) if options.quick else (options.lease, options.rounds)
    sys.exit(asyncio.run(main(*chosen)))
