"""A worker between a real database and the sandbox, with the story that gives it work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from msgspec.structs import replace

from event_log.due_queue import Claim
from event_log.log import Log
from notification_domain.backoff import RetryPolicy
from notification_domain.identity import event_id, notification_id
from tests import claims
from tests.conftest import Clock
from tests.sandbox.sandbox_clients import Web, web_of
from tests.story import Story
from tests.swept import swept_database
from tidings.sandbox.server import SandboxAddress, sandbox
from workers.channels.port import Channel
from workers.channels.smtp import SmtpChannel
from workers.channels.smtp_settings import SmtpSettings
from workers.channels.twilio_sms import TwilioChannel, TwilioSettings
from workers.rendering.mail import Sender
from workers.routes import FixedRoutes, Route, Routes
from workers.worker import Worker, WorkerSettings

SENDER = Sender("no-reply@tidings.example", "Tidings")
POLICY = RetryPolicy(max_attempts=3, min_delay=60.0, max_delay=3600.0)
"""Longer than any test takes: what waits for a retry stays until the clock is moved."""
CODE_RULE = "user.human.email.code.added"
_PAUSE = 0.01

Wrap = Callable[[Channel], Channel]


async def until(condition: Callable[[], bool], within: float = 10.0) -> None:
    """Raises TimeoutError when the condition is still false after ``within`` seconds."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110  # the database has no event to wait for
            await asyncio.sleep(_PAUSE)


class Watched(FixedRoutes):
    """Counts the looks at the queue: each begins by asking which channels are served."""

    looks = 0

    def channels(self) -> Collection[str]:
        self.looks += 1
        return super().channels()


class Office:
    """The place where due notifications are delivered."""

    def __init__(self, story: Story, address: SandboxAddress, web: Web) -> None:
        self.story = story
        self.log = story.log
        self.clock = story.clock
        self.web = web
        self._address = address

    @property
    def base_url(self) -> str:
        """Where the sandbox's HTTP providers are."""
        return self._address.base_url

    # --- the worker -------------------------------------------------------------------------------

    @staticmethod
    def policy(**changes: Any) -> RetryPolicy:
        return replace(POLICY, **changes)

    def routes(self, wrap: Wrap = lambda channel: channel) -> dict[str, Route]:
        smtp = SmtpSettings(
            self._address.host,
            self._address.smtp_port,
            tls="none",
            connect_timeout=2.0,
            command_timeout=2.0,
            data_timeout=2.0,
        )
        twilio = TwilioSettings(
            "ACsandbox", "token", "+15005550006", base_url=self._address.base_url, timeout=2.0
        )
        channels: Mapping[str, Channel] = {
            "email": SmtpChannel(smtp, provider="sandbox"),
            "sms": TwilioChannel(twilio, provider="sandbox"),
        }
        return {name: Route(wrap(channel), SENDER) for name, channel in channels.items()}

    @asynccontextmanager
    async def working(
        self, routes: Mapping[str, Route] | Routes | None = None, log: Log | None = None, **settings: Any
    ) -> AsyncIterator[Worker]:
        """A worker that runs meanwhile, and ends what it has begun."""
        given: dict[str, Any] = {"poll": 0.02, "retry_poll": 0.02, "policy": POLICY} | settings
        worker = Worker(
            log or self.log,
            self.routes() if routes is None else routes,
            WorkerSettings(**given),
            clock=self.clock,
            chance=lambda: 0.5,
        )
        stopped = asyncio.Event()
        running = asyncio.create_task(worker.run(stopped))
        try:
            yield worker
        finally:
            stopped.set()
            await asyncio.wait_for(running, 15)

    async def deliver(self, routes: Mapping[str, Route] | Routes | None = None, **settings: Any) -> None:
        """Let the handler read on and a worker do all that is due now."""
        self.story.handle()
        async with self.working(routes, **settings):
            await until(lambda: not self.busy())

    def busy(self) -> bool:
        """Whether anything is due or leased."""
        with self.log.database.connection() as connection:
            found = connection.execute(
                "SELECT 1 FROM due_notifications"
                " WHERE due_at <= %s OR lease_until > clock_timestamp() LIMIT 1",
                (self.clock(),),
            )
            return found.fetchone() is not None

    def claim(self, lease: timedelta = timedelta(minutes=1)) -> list[Claim]:
        with self.log.database.connection() as connection:
            return claims.claim(connection.cursor(), self.clock(), lease=lease)

    def claim_in_order(self) -> list[Claim]:
        with self.log.database.connection() as connection:
            return claims.claim_in_order(connection.cursor(), self.clock())

    def lose_leases(self) -> None:
        """As if every worker that holds one had died long ago."""
        with self.log.database.connection() as connection:
            connection.execute(
                "UPDATE due_notifications SET lease_until = clock_timestamp() - interval '1 s'"
            )

    # --- what came of it --------------------------------------------------------------------------

    async def messages(self, **query: str) -> list[Any]:
        """What the sandbox has accepted, oldest first."""
        return list(reversed(await self.web.messages(**query)))

    def only(self) -> UUID:
        (decided,) = self.story.decisions()
        return decided.id

    def topics(self, notification: UUID | None = None) -> list[str]:
        """What happened to a notification, to the only one when none is named."""
        facts = self.story.facts(notification or self.only())
        return [type(fact).__name__ for fact in facts]

    def last(self, notification: UUID | None = None) -> Any:
        """The newest event of a notification."""
        return self.story.facts(notification or self.only())[-1]


def notification_of(caller_event_id: str, rule: str = CODE_RULE) -> UUID:
    """The notification that a rule derives from an event of the story."""
    return notification_id("acme", event_id("acme", "auth", caller_event_id), rule)


def cut_all_connections(conninfo: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.fixture
def conninfo(server: str, template: str) -> str:
    return swept_database(server, template)


@pytest.fixture
def story(log: Log, clock: Clock) -> Story:
    return Story(log, clock)


@pytest.fixture
async def office(story: Story, tmp_path: Path) -> AsyncIterator[Office]:
    async with sandbox(tmp_path) as address, web_of(address) as web:
        yield Office(story, address, web)
