"""Tidings as a queue: the worker as it ships, with a channel that delivers nothing, and every durable event.

A job is a notification that the handler has decided: claimed, loaded and folded, its attempt and its
transmission announced, its outcome recorded, and written back on the source stream. With ``verification``
there is nothing to render, as other queues' jobs render nothing; with ``mail`` a whole mail is made too.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.speaking import CONCURRENCY, Runs, converse
from event_log import intake
from event_log.database import Database
from event_log.intake import CallerEvent
from event_log.log import Log
from event_log.wakeups import Wakeups
from notification_domain.outcomes import Delivered, Outcome
from notification_domain.policies import Deployment
from projections.handler import handle_batch
from tidings.composition import bring_up_to_date, clock, deployment_key
from tidings.running import run_fast
from tidings.settings import Settings
from tidings.worker_process import CONNECTIONS, worker_settings
from workers.channels.port import Message, PointOfNoReturn
from workers.rendering.mail import Sender
from workers.rendering.render import prepare
from workers.routes import Route
from workers.worker import Worker

INSTANCE = "bench"
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    # A code that the provider makes: neither a text nor a secret of ours.
    "verification": ("user.human.phone.code.added", {"generator_id": "bench"}),
    "mail": ("user.human.email.code.added", {"code": "K7XQ2M"}),
}


class NothingChannel:
    """Passes the point of no return and says that the message was delivered."""

    provider = "nothing"
    at_once = CONCURRENCY

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    async def deliver(self, message: Message, begin: PointOfNoReturn) -> Outcome | None:
        self._runs.ran(_number(message.recipient))
        return Delivered() if await begin() else None

    async def close(self) -> None:
        """There is nothing to close."""


class TidingsQueue:
    version = "this tree"

    def __init__(self, conninfo: str, settings: Settings, kind: str, runs: Runs) -> None:
        self._conninfo = conninfo
        self._settings = settings
        self._trigger, self._data = KINDS[kind]
        self._runs = runs
        self._opened: Log | None = None
        self._working: asyncio.Task[None] | None = None

    @property
    def _log(self) -> Log:
        """Opened when it is first needed: before ``prepare`` there is no table to open."""
        if self._opened is None:
            role = self._settings.database_role
            database = Database(self._conninfo, role=role, max_size=CONNECTIONS, application_name="bench")
            self._opened = Log(database, deployment_key(self._settings), os.urandom)
            self._opened.open()
        return self._opened

    async def prepare(self, singly: int) -> None:
        bring_up_to_date(self._settings, self._conninfo, lambda _: None)
        self._append([_person(number) for number in range(singly)])
        self._decide()

    async def fill(self, jobs: int) -> None:
        self._append([_person(number) for number in range(jobs)])
        self._append([self._wish(number) for number in range(jobs)])
        self._decide()

    async def start(self) -> None:
        prepare()
        channel = NothingChannel(self._runs)
        routes = {
            "email": Route(channel, Sender("tidings@bench.example", "Tidings")),
            "sms": Route(channel, Sender(""), verifies=True),
        }
        # Jitter needs no secrecy.
        settings = worker_settings(self._settings)
        worker = Worker(self._log, routes, settings, clock=clock, chance=random.random)
        loop = asyncio.get_running_loop()
        wakeups = Wakeups(self._conninfo)
        wakeups.subscribe("due", call=lambda: loop.call_soon_threadsafe(worker.wake))
        wakeups.start()
        self._working = asyncio.create_task(worker.run(asyncio.Event()))

    async def enqueue(self, number: int) -> float:
        """A job is enqueued by whoever decides it, so the handler's batch is timed; its event is there."""
        await asyncio.to_thread(self._append, [self._wish(number)])
        began = time.monotonic()
        await asyncio.to_thread(self._decide)
        return began

    def _append(self, events: Sequence[CallerEvent]) -> None:
        for start in range(0, len(events), 1000):
            intake.append(self._log, INSTANCE, events[start : start + 1000])

    def _decide(self) -> None:
        while handle_batch(self._log, clock, Deployment()):
            pass

    def _wish(self, number: int) -> CallerEvent:
        data = self._data | {"expiry": 3600, "trigger_origin": "https://login.bench.example"}
        return _event(f"trigger-{number}", self._trigger, number, data)


def _person(number: int) -> CallerEvent:
    data = {
        "user_name": f"user{number}",
        "first_name": "Ada",
        "last_name": f"Number {number}",
        "email": f"user{number}@bench.example",
        "phone": f"+4179{number:07d}",
    }
    return _event(f"user-{number}", "user.human.added", number, data)


def _event(event_id: str, event_type: str, number: int, data: dict[str, Any]) -> CallerEvent:
    return CallerEvent(source="bench", id=event_id, type=event_type, subject=f"user/{number}", data=data)


def _number(recipient: str) -> int:
    """Of the job, from the address of the one person it is for."""
    if recipient.startswith("+"):
        return int(recipient.removeprefix("+4179"))
    return int(recipient.partition("@")[0].removeprefix("user"))


async def main(conninfo: str, data: Path, kind: str) -> None:
    runs = Runs()
    await converse(TidingsQueue(conninfo, Settings(data_dir=data), kind, runs), runs)


if __name__ == "__main__":
    run_fast(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
