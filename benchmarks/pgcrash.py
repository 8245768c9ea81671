"""PostgreSQL crashes under load, by immediate shutdown: what clients were told is stored must be there.

Recovery is the time from the crash to the next 2xx answer to a client that asks all the time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
import time
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks.checker import Findings, check
from benchmarks.feeding import Client, person, session, trigger
from benchmarks.ground import Ground, ground
from benchmarks.storm import settle

WRITERS = 4
BATCH = 5
CALM = 0.8
"""Seconds of work between a recovery and the next crash."""
BOUND = 3.0


class Load:
    """Clients that append all the time."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.over = False
        self._next = 0

    async def run(self) -> None:
        await asyncio.gather(*(self._write() for _ in range(WRITERS)))

    async def _write(self) -> None:
        while not self.over:
            numbers = range(self._next, self._next + BATCH)
            self._next += BATCH
            events = [event for number in numbers for event in (person(number), trigger(number))]
            await self.client.append(events, pause=0.02)
            await asyncio.sleep(0.05)


def postmaster(data: Path) -> int:
    (file,) = data.glob("**/postmaster.pid")
    # The number is that of the server's own name space: the process is found by its working directory.
    home = file.parent
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink() == home and b"postgres\0" in (entry / "cmdline").read_bytes():
                return int(entry.name)
        except OSError:
            continue
    raise RuntimeError("there is no postmaster")


async def crash(place: Ground, client: Client) -> float:
    """Seconds from an immediate shutdown to the next 2xx for what was asked after the server's death."""
    victim = postmaster(place.data)
    os.kill(victim, signal.SIGQUIT)
    began = time.monotonic()
    while Path(f"/proc/{victim}").exists():  # noqa: ASYNC110, ASYNC240  # the kernel's own
        await asyncio.sleep(0.001)
    died = time.monotonic()
    while client.newest_answered < died:  # noqa: ASYNC110  # a number, no event
        await asyncio.sleep(0.005)
    return time.monotonic() - began


async def main(crashes: int) -> int:
    async with ground() as place, session(place.key, patience=30) as web:
        await place.keep(["api", "handler", "worker"])
        load = Load(Client(place.url, web))
        loading = asyncio.create_task(load.run())
        recoveries = []
        for _ in range(crashes):
            await asyncio.sleep(CALM)
            recoveries.append(await crash(place, load.client))
        load.over = True
        await loading
        await settle(place.conninfo)
        await place.stop()
        with psycopg.connect(place.conninfo) as connection:
            findings = check(connection, load.client.told.values(), place.ledger())
    return _report(sorted(recoveries), findings)


def _report(recoveries: list[float], findings: Findings) -> int:
    p99 = recoveries[max(0, -(-len(recoveries) * 99 // 100) - 1)]
    result = {"crashes": len(recoveries), "missing": findings.lost, "recovery_p99_s": round(p99, 2)}
    rows = {
        "recovery p50, s": round(statistics.median(recoveries), 2),
        "notifications": findings.notifications,
        "second decisions": findings.second_decisions,
        "closed twice": findings.closed_twice,
        "unannounced copies": findings.unannounced,
        "unknown": findings.unknown,
    }
    table = Table("finding", "value", title="PostgreSQL crashed under load")
    for name, value in {**result, **rows}.items():
        table.add_row(name, f"{value:g}")
    console = Console()
    console.print(table)
    for suspect in findings.suspects[:20]:
        console.print(f"[red]{suspect}", soft_wrap=True)
    print(json.dumps(result))
    wrong = findings.lost or findings.second_decisions or findings.closed_twice or findings.unannounced
    return 1 if wrong or p99 > BOUND else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crashes", type=int, default=50)
    parser.add_argument("--quick", action="store_true", help="5 crashes")
    options = parser.parse_args()
    sys.exit(asyncio.run(main(5 if options.quick else options.crashes)))
