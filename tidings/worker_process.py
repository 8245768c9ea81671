"""A worker as a process of its own."""

from __future__ import annotations

import asyncio
import random
from contextlib import closing

from event_log.log import Log
from event_log.wakeups import Wakeups
from notification_domain.backoff import RetryPolicy
from tidings.channels import channels, sender
from tidings.composition import clock, process_log
from tidings.errors import SettingsInvalid
from tidings.running import run_fast, stop_on_signals
from tidings.sandbox_use import channels_without_provider, sandbox_is_wanted, sandbox_place
from tidings.settings import Settings
from tidings.supervised import say_ready
from workers.rendering.render import prepare
from workers.worker import Route, Worker, WorkerSettings

CONNECTIONS = 6


def run_worker_process(settings: Settings) -> None:
    """Until a signal; what is under way comes to its end first."""
    _check_routes(settings)
    prepare()
    with process_log(settings, "worker", CONNECTIONS) as log:
        run_fast(_deliver(settings, log))


def worker_settings(settings: Settings) -> WorkerSettings:
    given = settings.workers
    return WorkerSettings(
        claim_batch=given.bulk_limit,
        in_flight=given.concurrency,
        poll=given.requeue_every.total_seconds(),
        lease=given.lease_period,
        dispatch_timeout=given.dispatch_timeout,
        max_claims=given.max_claims,
        policy=retry_policy(settings),
    )


def retry_policy(settings: Settings) -> RetryPolicy:
    given = settings.workers
    return RetryPolicy(
        max_attempts=given.max_attempts,
        min_delay=given.min_retry_delay.total_seconds(),
        max_delay=given.max_retry_delay.total_seconds(),
        factor=given.retry_delay_factor,
    )


async def _deliver(settings: Settings, log: Log) -> None:
    routes = {name: Route(channel, sender(settings)) for name, channel in channels(settings).items()}
    # Jitter needs no secrecy.
    worker = Worker(log, routes, worker_settings(settings), clock=clock, chance=random.random)
    loop = asyncio.get_running_loop()

    def wake() -> None:
        loop.call_soon_threadsafe(worker.wake)

    with stop_on_signals() as stop, closing(Wakeups(log.database.conninfo)) as wakeups:
        wakeups.subscribe("due", call=wake)
        wakeups.start()
        say_ready()
        await worker.run(stop)


def _check_routes(settings: Settings) -> None:
    """Raises SettingsInvalid when a message would go to a sandbox that nobody told us the address of."""
    missing = channels_without_provider(settings)
    if missing and sandbox_is_wanted(settings) and sandbox_place(settings) is None:
        fault = (
            f"{' and '.join(missing)}: no provider is set, and nothing says where the sandbox is; "
            "set smtp and twilio, or sandbox.smtp_port with sandbox.http_port or sandbox.url, "
            "or sandbox.enabled: false"
        )
        raise SettingsInvalid([fault])
