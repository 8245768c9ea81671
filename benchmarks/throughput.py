"""Trigger events over REST to mails accepted and recorded as sent: notifications a second, end to end.

One api, one handler, one worker, the sandbox and PostgreSQL share the machine with the client. Counted in
the log and in the sandbox's ledger; where the time goes is processor time by process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter

from rich.console import Console
from rich.table import Table

from benchmarks.stack import Stack, batches, code, stack, user

PATIENCE = 600.0


async def measure(running: Stack, count: int) -> float:
    """Seconds from the first trigger to the last sent event."""
    for batch in batches([user(number) for number in range(count)], 1000):
        await running.append(batch)
    await asyncio.sleep(2)
    with running.database() as connection:
        began = time.monotonic()
        for batch in batches([code(number) for number in range(count)], 500):
            await running.append(batch)
        while time.monotonic() < began + PATIENCE:
            row = connection.execute(
                "SELECT count(*) FROM events WHERE topic = 'notification.sent'"
            ).fetchone()
            if row and row[0] >= count:
                break
            await asyncio.sleep(0.1)
        return time.monotonic() - began


def _print(console: Console, seconds: float, count: int, cpu: dict[str, float]) -> None:
    table = Table("process", "CPU s", "ms a notification", "share of one core", title="where the time goes")
    for name, used in sorted(cpu.items(), key=lambda item: -item[1]):
        table.add_row(name, f"{used:.1f}", f"{used / count * 1000:.2f}", f"{used / seconds:.0%}")
    console.print(table)


async def main(count: int) -> None:
    async with stack() as running:
        before = running.cpu_seconds()
        seconds = await measure(running, count)
        after = running.cpu_seconds()
        # Each user is told one thing, so a mailbox that got two mails got one twice.
        mails = Counter(entry["to"][0] for entry in running.ledger())
    cpu = {name: after[name] - before.get(name, 0.0) for name in after}
    _print(Console(), seconds, count, cpu)
    result = {
        "notifications": count,
        "delivered": len(mails),
        "twice": sum(1 for times in mails.values() if times > 1),
        "notifications_per_s": round(count / seconds, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--notifications", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true", help="1,000 notifications")
    options = parser.parse_args()
    asyncio.run(main(1000 if options.quick else options.notifications))
