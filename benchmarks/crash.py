"""kill -9 of each process in turn while notifications are in flight, with default limits.

Afterwards the log, the sandbox's ledger and what the client was told must agree: nothing lost, nothing
closed twice, nothing sent again that the log had not announced.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import time
from datetime import UTC, datetime, timedelta

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.checker import Findings, Told, check
from benchmarks.stack import Stack, batches, code, stack, user

VICTIMS = ("api", "handler", "worker", "sandbox", "postmaster", "keeper")
PATIENCE = 300.0
_OPEN = "SELECT count(*) FROM due_notifications WHERE not_before < '9999-01-01'"


async def strike(running: Stack, victim: str, first: int, count: int) -> list[Told]:
    """Append ``count`` triggers, kill the victim once the first of them are out; what the client was told."""
    numbers = range(first, first + count)
    for batch in batches([user(n) for n in numbers], 500):
        await running.append_until_accepted(batch)
    before = await _accepted(running)
    appending = asyncio.create_task(_append(running, numbers))
    while await _accepted(running) < before + count // 20:  # noqa: ASYNC110  # another process makes it true
        await asyncio.sleep(0.01)
    os.kill(running.children()[victim], signal.SIGKILL)
    return await appending


async def _append(running: Stack, numbers: range) -> list[Told]:
    told = []
    for batch in batches([code(n) for n in numbers], 100):
        expires_at = datetime.now(UTC) + timedelta(seconds=batch[0]["data"]["expiry"])
        items = await running.append_until_accepted(batch)
        told += [Told(item["id"], int(item["position"]), batch[0]["type"], expires_at) for item in items]
    return told


async def _accepted(running: Stack) -> int:
    while True:
        try:
            return await running.accepted_messages()
        except Exception:  # noqa: BLE001  # whatever just died comes back
            await asyncio.sleep(0.1)


async def settle(running: Stack) -> None:
    """Wait until nothing is open but what waits for a person."""
    deadline = time.monotonic() + PATIENCE
    with running.database() as connection:
        while time.monotonic() < deadline:
            (open_ones,) = connection.execute(_OPEN).fetchone() or (0,)
            if not open_ones:
                return
            await asyncio.sleep(0.5)


async def main(count: int) -> None:
    began = time.monotonic()
    async with stack() as running:
        told = []
        for turn, victim in enumerate(VICTIMS):
            told += await strike(running, victim, turn * count, count)
        await asyncio.sleep(2)
        await settle(running)
        with running.database() as connection:
            findings = check(connection, told, running.ledger())
    _print(findings, time.monotonic() - began)


def _print(findings: Findings, seconds: float) -> None:
    for suspect in findings.suspects:
        Console().print(suspect)
    result = msgspec.to_builtins(findings) | {"kills": len(VICTIMS), "seconds": round(seconds, 1)}
    del result["suspects"]
    table = Table("finding", "count", title=f"kill -9 of {', '.join(VICTIMS)}")
    for name, value in result.items():
        table.add_row(name, str(value))
    Console().print(table)
    print(json.dumps(result))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--notifications", type=int, default=1000, help="in flight at each kill")
    parser.add_argument("--quick", action="store_true", help="200 at each kill")
    options = parser.parse_args()
    asyncio.run(main(200 if options.quick else options.notifications))
