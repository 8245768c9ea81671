"""A database, the sandbox, and processes of Tidings of which one fails at a named place."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import msgspec
import psycopg
from psycopg.conninfo import make_conninfo

from benchmarks.checker import Findings, Told, check
from benchmarks.feeding import EXPIRY, MAIL_CODE, TEXT_CODE, person, phone, trigger
from benchmarks.offspring import Nursery, Offspring, nursery
from event_log.api_keys import SCOPES, create_key
from event_log.database import Database
from event_log.deployment_key import DeploymentKey
from event_log.intake import CallerEvent, append
from event_log.log import Log
from notification_domain.policies import Deployment
from projections.handler import handle_batch
from tidings.listening import free_port

HOST = "127.0.0.1"
KEY = bytes(range(32))
LEASE = 4.0
"""Seconds; the fence wants two of them left."""
RULES = {
    "email": MAIL_CODE,
    "sms": TEXT_CODE,
    "long email": "user.human.initialization.code.added",
}
LONG_NAME = "\N{GRINNING FACE}" * 1999
"""Twice in each part of its mail, quoted: more than one block, so that there is a half of the body."""
_numbers = itertools.count(1)


class Theatre:
    """What all cases share: the server, the sandbox and the fork server."""

    def __init__(self, server: str, template: str, directory: Path, children: Nursery) -> None:
        self.server = server
        self.template = template
        self.directory = directory
        self.children = children
        self.ports = {name: str(free_port(HOST)) for name in ("SMTP_PORT", "HTTP_PORT")}

    async def spawn(self, words: list[str], log: Path, **environment: str) -> Offspring:
        shared = {"TIDINGS_DATA_DIR": str(self.directory), "PATH": os.environ["PATH"]}
        shared |= {f"TIDINGS_SANDBOX__{name}": port for name, port in self.ports.items()}
        return await self.children.spawn(words, shared | environment, directory=self.directory, log=log)

    def ledger(self) -> list[dict[str, Any]]:
        file = self.directory / "sandbox" / "ledger.jsonl"
        return [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]

    @contextmanager
    def database(self) -> Iterator[str]:
        name = f"case_{os.getpid()}_{next(_numbers)}"
        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {self.template} STRATEGY wal_log")
            yield make_conninfo(self.server, dbname=name)
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def theatre(server: str, template: str, directory: Path) -> AsyncIterator[Theatre]:
    async with nursery() as children:
        made = Theatre(server, template, directory, children)
        sandbox = await made.spawn(["sandbox"], directory / "sandbox.log")
        await sandbox.ready.wait()
        yield made


class Play:
    """One case: a trigger for one person, and the processes that deal with it."""

    def __init__(self, house: Theatre, conninfo: str, log: Log, channel: str) -> None:
        self.house = house
        self.conninfo = conninfo
        self.log = log
        self.number = next(_numbers)
        self.rule = RULES[channel]
        self.position = 0
        self.stderr = house.directory / f"{self.number}.log"
        self.stderr.touch()
        self._deployment = Deployment()

    # --- events ---------------------------------------------------------------------------------

    def events(self) -> list[dict[str, Any]]:
        someone = person(self.number)
        if self.rule == RULES["long email"]:
            someone["data"] |= {"display_name": LONG_NAME, "user_name": LONG_NAME}
        return [someone, trigger(self.number, self.rule)]

    def append(self) -> None:
        answer = append(self.log, "bench", [_caller_event(event) for event in self.events()])
        assert isinstance(answer, tuple)
        self.position = answer[-1].position

    def decide(self) -> None:
        while handle_batch(self.log, lambda: datetime.now(UTC), self._deployment):
            pass

    async def post(self, port: int, key: str) -> None:
        """As a client does: again and again until it is told that all is stored."""
        headers = {
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/cloudevents-batch+json",
        }
        body = msgspec.json.encode(self.events())
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            while not self.position:
                try:
                    async with session.post(f"http://{HOST}:{port}/v1/events", data=body) as answer:
                        if answer.status in {200, 201}:
                            self.position = int((await answer.json())["items"][-1]["position"])
                except (aiohttp.ClientError, TimeoutError):
                    await asyncio.sleep(0.02)

    def make_key(self) -> str:
        now = datetime.now(UTC)
        return create_key(self.log.database, "bench", SCOPES, "bench", now, os.urandom)[1]

    # --- processes ------------------------------------------------------------------------------

    async def spawn(self, role: str, failpoint: str = "", **environment: str) -> Offspring:
        settings = {
            "TIDINGS_DATABASE_URL": self.conninfo,
            "TIDINGS_SECRET_KEY": base64.urlsafe_b64encode(KEY).decode(),
            "TIDINGS_WORKERS__LEASE_PERIOD": f"{LEASE:g}s",
            "TIDINGS_WORKERS__DISPATCH_TIMEOUT": "2s",
            "TIDINGS_WORKERS__MIN_RETRY_DELAY": "100ms",
            "TIDINGS_WORKERS__REQUEUE_EVERY": "100ms",
            "TIDINGS_WORKERS__RETRY_REQUEUE_EVERY": "100ms",
            "TIDINGS_FAILPOINTS": failpoint,
        }
        return await self.house.spawn([role], self.stderr, **settings | environment)

    def said(self, sentence: str) -> bool:
        """Whether a process wrote this to its log."""
        return sentence in self.stderr.read_text()

    # --- what came of it ------------------------------------------------------------------------

    @property
    def told(self) -> Told:
        number = phone(self.number) if self.rule == TEXT_CODE else ""
        return Told(f"trigger-{self.number}", self.position, self.rule, datetime.now(UTC) + EXPIRY, number)

    @property
    def notification(self) -> UUID:
        return self.told.notification

    def topics(self) -> list[str]:
        with psycopg.connect(self.conninfo) as connection:
            rows = connection.execute(
                "SELECT topic FROM events WHERE originator_id = %s ORDER BY originator_version",
                (self.notification,),
            ).fetchall()
        return [topic.removeprefix("notification.") for (topic,) in rows]

    def is_decided(self) -> bool:
        return "requested" in self.topics()

    def is_over(self) -> bool:
        """Nothing is open but what waits for a person."""
        with psycopg.connect(self.conninfo) as connection:
            found = connection.execute(
                "SELECT 1 FROM due_notifications WHERE not_before < '9999-01-01'"
            ).fetchone()
        return found is None and self.is_decided()

    def nobody_is_inside(self) -> bool:
        """No transaction is open and idle."""
        with psycopg.connect(self.conninfo) as connection:
            found = connection.execute(
                "SELECT 1 FROM pg_stat_activity"
                " WHERE datname = current_database() AND state = 'idle in transaction'"
            ).fetchone()
        return found is None

    def findings(self) -> Findings:
        with psycopg.connect(self.conninfo) as connection:
            return check(connection, [self.told], self.house.ledger())

    def copies(self) -> int:
        found = Counter(str(entry["to"][0]) for entry in self.house.ledger())
        return found[phone(self.number)] + found[f"user{self.number}@bench.example"]


@asynccontextmanager
async def play(house: Theatre, channel: str = "email") -> AsyncIterator[Play]:
    with house.database() as conninfo:
        database = Database(conninfo)
        try:
            database.open()
            yield Play(house, conninfo, Log(database, DeploymentKey(KEY), os.urandom), channel)
        finally:
            database.close()


async def until(condition: Callable[[], bool], within: float = 30.0) -> None:
    """Raises TimeoutError when the condition is still false after ``within`` seconds."""
    async with asyncio.timeout(within):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110  # other processes make it true
            await asyncio.sleep(0.05)


async def end(process: Offspring) -> None:
    """As a deploy does; it finishes what it has begun."""
    process.signal(signal.SIGTERM)
    async with asyncio.timeout(20):
        await process.ended.wait()


def _caller_event(event: dict[str, Any]) -> CallerEvent:
    return CallerEvent(
        source=event["source"],
        id=event["id"],
        type=event["type"],
        subject=event["subject"],
        data=event["data"],
    )
