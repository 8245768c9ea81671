"""Real kill -9 and real freezes of api, handler and workers while notifications are in flight.

Limits are the defaults but for the lease, which a freeze must outlast. Clients repeat until they are told
2xx; then what they were told, the log and the sandbox's ledger are compared. The control runs workers that
do not announce transmissions: it must show duplicates, or the storm would prove nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks.checker import Findings, check
from benchmarks.feeding import Client, person, session, trigger
from benchmarks.ground import Ground, Slot, ground

LEASE = 4.0
SETTINGS = {"TIDINGS_WORKERS__LEASE_PERIOD": f"{LEASE:g}s", "TIDINGS_WORKERS__DISPATCH_TIMEOUT": "2s"}
PROCESSES = ("api-1", "api-2", "handler-1", "handler-2", "worker-1", "worker-2", "worker-3", "worker-4")
WORKERS = tuple(name for name in PROCESSES if name.startswith("worker"))
FULL = 1000
"""Kills of a whole storm."""
PROVIDER_SECONDS = 0.05
"""How long each provider takes to answer after it took a message."""
SHORTEST_PAUSE = 0.1
FROZEN_AT_ONCE = 3
BETWEEN_FREEZES = 1.0
COMMIT_SECONDS = 0.02
BATCH = 10
PATIENCE = 120.0

_OPEN = "SELECT count(*) FROM due_notifications WHERE not_before < '9999-01-01'"
_BEHIND = """
SELECT coalesce((SELECT max(notification_id) FROM events WHERE event_id IS NOT NULL), 0)
     > coalesce((SELECT position FROM tracking WHERE projection = 'handler'), 0)
"""
_TRANSMITTING = """
SELECT newest.originator_id, newest.originator_version
  FROM due_notifications d
 CROSS JOIN LATERAL (SELECT * FROM events e WHERE e.originator_id = d.notification_id
                      ORDER BY originator_version DESC LIMIT 1) AS newest
 WHERE newest.topic = 'notification.transmission.started'
"""


class Plan(msgspec.Struct, frozen=True):
    kills: int
    freezes: int
    notifications: int
    seed: int
    planted: bool = False

    @property
    def pause(self) -> float:
        """Seconds between kills, on average, so that kills and freezes last equally long."""
        freezing = self.freezes * (LEASE + 0.5 + BETWEEN_FREEZES) / FROZEN_AT_ONCE
        return max(SHORTEST_PAUSE, freezing / self.kills)


class Storm:
    def __init__(self, place: Ground, plan: Plan, database: psycopg.AsyncConnection[Any]) -> None:
        self.kills: dict[str, int] = {}
        self.freezes = 0
        self.in_transmission: set[tuple[UUID, int]] = set()
        """Transmissions that were under way at a blow to a worker: no others may be unknown."""
        self._place = place
        self._plan = plan
        self._chance = random.Random(plan.seed)  # where it strikes is no secret
        self._database = database

    async def rage(self) -> None:
        await asyncio.gather(self._kill_on(), *(self._freeze_on() for _ in range(FROZEN_AT_ONCE)))

    @property
    def share(self) -> float:
        """How much of it is over, in [0, 1]."""
        done = sum(self.kills.values()) + self.freezes
        return done / (self._plan.kills + self._plan.freezes)

    async def _kill_on(self) -> None:
        while sum(self.kills.values()) < self._plan.kills:
            await asyncio.sleep(self._chance.expovariate(1 / self._plan.pause))
            victim = self._victim()
            if victim is not None and victim.now is not None:
                victim.now.kill()
                self.kills[victim.name] = self.kills.get(victim.name, 0) + 1
                await self._note_transmissions(victim)

    async def _freeze_on(self) -> None:
        while self.freezes < self._plan.freezes:
            await asyncio.sleep(self._chance.expovariate(1 / BETWEEN_FREEZES))
            victim = self._victim()
            if victim is not None and not self._twin_is_frozen(victim) and self.freezes < self._plan.freezes:
                self.freezes += 1
                await self._freeze(victim)

    async def _freeze(self, victim: Slot) -> None:
        assert victim.now
        victim.frozen = True
        victim.now.freeze()
        await self._note_transmissions(victim)
        await asyncio.sleep(LEASE + 0.5)
        victim.now.thaw()
        victim.frozen = False

    def _victim(self) -> Slot | None:
        # The control is about workers alone, so that a short one shows what it must.
        names = WORKERS if self._plan.planted else PROCESSES
        alive = [slot for slot in self._place.slots if slot.works and slot.name in names]
        return self._chance.choice(alive) if alive else None

    def _twin_is_frozen(self, victim: Slot) -> bool:
        """Of each kind one stays: what stands still altogether is not under fire."""
        kind = victim.name.partition("-")[0]
        frozen = [slot for slot in self._place.slots if slot.frozen and slot.name.startswith(kind)]
        return len(frozen) >= (1 if kind != "worker" else 2)

    async def _note_transmissions(self, victim: Slot) -> None:
        if victim.name in WORKERS:
            # What it had sent to the server by then is still being committed.
            await asyncio.sleep(COMMIT_SECONDS)
            cursor = await self._database.execute(_TRANSMITTING)
            self.in_transmission.update(await cursor.fetchall())


async def feed(client: Client, storm: Storm, count: int) -> None:
    """Keep pace with the storm, so that there is work in flight at every blow."""
    for first in range(0, count, BATCH):
        while storm.share < (first - 10 * BATCH) / count:  # noqa: ASYNC110  # blows are no events
            await asyncio.sleep(0.02)
        await client.append([trigger(number) for number in range(first, min(first + BATCH, count))])


async def settle(conninfo: str) -> None:
    """Wait until everything is decided and nothing is open but what waits for a person."""
    deadline = time.monotonic() + PATIENCE
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
        while time.monotonic() < deadline:
            found = [await (await connection.execute(look)).fetchone() for look in (_BEHIND, _OPEN)]
            if not any(row and row[0] for row in found):
                return
            await asyncio.sleep(0.2)


async def blow(plan: Plan) -> tuple[Findings, Storm]:
    """One storm from calm to calm."""
    async with ground(**SETTINGS) as place, session(place.key) as web:
        await place.keep(PROCESSES, planted=plan.planted)
        await place.slow_providers(PROVIDER_SECONDS)
        client = Client(place.url, web)
        for first in range(0, plan.notifications, 500):
            last = min(first + 500, plan.notifications)
            await client.append([person(number) for number in range(first, last)])
        async with await psycopg.AsyncConnection.connect(place.conninfo, autocommit=True) as database:
            storm = Storm(place, plan, database)
            await asyncio.gather(feed(client, storm, plan.notifications), storm.rage())
        await settle(place.conninfo)
        await place.stop()
        with psycopg.connect(place.conninfo) as connection:
            return check(connection, client.told.values(), place.ledger()), storm


async def main(plan: Plan) -> int:
    began = time.monotonic()
    findings, storm = await blow(plan)
    seconds = time.monotonic() - began
    control = Plan(max(plan.kills // 10, 40), 0, max(plan.notifications // 5, 500), plan.seed, planted=True)
    duplicates = (await blow(control))[0].unannounced
    result = {
        "kills": sum(storm.kills.values()),
        "freezes": storm.freezes,
        "notifications": findings.notifications,
        "lost": findings.lost,
        "second_decisions": findings.second_decisions,
        "closed_twice": findings.closed_twice,
        "unannounced": findings.unannounced,
        "unknown": findings.unknown,
        "control_duplicates": duplicates,
        "seconds": round(seconds, 1),
    }
    _print(result, findings, storm, plan.seed)
    print(json.dumps(result))
    return 0 if _is_passed(result, storm) else 1


def _is_passed(result: dict[str, float], storm: Storm) -> bool:
    nothing = ("lost", "second_decisions", "closed_twice", "unannounced")
    # A short storm has few blows: its control may be lucky, and what was in transmission is seen too seldom.
    short = result["kills"] < FULL
    few_unknown = short or result["unknown"] <= len(storm.in_transmission)
    bites = short or result["control_duplicates"] > 0
    return not any(result[name] for name in nothing) and few_unknown and bites


def _print(result: dict[str, float], findings: Findings, storm: Storm, seed: int) -> None:
    console = Console()
    table = Table("finding", "count", title=f"kill -9 and SIGSTOP of {', '.join(PROCESSES)}; seed {seed}")
    rows = result | {
        "announced copies": findings.announced,
        "in transmission at blows": len(storm.in_transmission),
        "copies of the unknown": findings.arrived,
    }
    for name, value in rows.items():
        table.add_row(name, f"{value:g}")
    console.print(table)
    console.print("kills:", ", ".join(f"{name} {count}" for name, count in sorted(storm.kills.items())))
    for suspect in findings.suspects[:20]:
        console.print(f"[red]{suspect}", soft_wrap=True)


def _plan(arguments: Sequence[str]) -> Plan:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=FULL)
    parser.add_argument("--freezes", type=int, default=100)
    parser.add_argument("--notifications", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--quick", action="store_true", help="60 kills and 10 freezes over 600")
    given = parser.parse_args(arguments)
    if given.quick:
        return Plan(60, 10, 600, given.seed)
    return Plan(given.kills, given.freezes, given.notifications, given.seed)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(_plan(sys.argv[1:]))))
