"""From an accepted event to a message accepted by the SMTP server, on an idle system.

The clock starts when the client holds the 2xx answer and stops when the sandbox has the message on disk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.stack import Stack, code, stack, user


async def measure(running: Stack, count: int) -> list[float]:
    await running.append([user(number) for number in range(count)])
    await asyncio.sleep(1)
    accepted: dict[str, datetime] = {}
    for number in range(count):
        await running.append([code(number)])
        accepted[f"user{number}@bench.example"] = datetime.now(UTC)
        await asyncio.sleep(0.05)
    while await running.accepted_messages() < count:  # noqa: ASYNC110  # another process makes it true
        await asyncio.sleep(0.1)
    return sorted(_waits(await _messages(running), accepted))


async def _messages(running: Stack) -> list[dict[str, Any]]:
    async with running.session.get(f"{running.url}/sandbox/messages?limit=100000&summary=true") as answer:
        items: list[dict[str, Any]] = (await answer.json())["items"]
        return items


def _waits(messages: list[dict[str, Any]], accepted: dict[str, datetime]) -> list[float]:
    return [
        (datetime.fromisoformat(item["received_at"]) - accepted[item["to"][0]]).total_seconds() * 1000
        for item in messages
    ]


def percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def main(count: int) -> None:
    async with stack() as running:
        waits = await measure(running, count)
    result = {"p50_ms": round(statistics.median(waits), 1), "p99_ms": round(percentile(waits, 0.99), 1)}
    table = Table("measure", "ms", title=f"accepted event to accepted mail, idle, {count} events")
    for name, value in (*result.items(), ("longest", round(waits[-1], 1))):
        table.add_row(name, str(value))
    Console().print(table)
    print(json.dumps(result))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="fewer events")
    options = parser.parse_args()
    asyncio.run(main(100 if options.quick else options.events))
