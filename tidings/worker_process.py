"""A worker as a process of its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, closing, nullcontext

from event_log.log import Log
from event_log.wakeups import Wakeups
from notification_domain.backoff import RetryPolicy
from tidings.callbacks import providers_callback
from tidings.channels import channels, sender
from tidings.composition import clock, process_log
from tidings.errors import SettingsInvalid
from tidings.running import run_fast, stop_on_signals
from tidings.sandbox_use import channels_without_provider, sandbox_is_wanted, sandbox_place
from tidings.settings import Settings
from tidings.supervised import say_ready
from tidings.worker_metrics import metrics_served
from tidings.worker_settings import Channels
from tidings.worker_settings import WorkerSettings as RetrySettings
from workers.channels.address_guard import networks
from workers.give_up_hook import reporting
from workers.instance_routes import InstanceRoutes, Surroundings
from workers.rendering.render import prepare
from workers.routes import Route
from workers.signed_webhook import Receiver, ReceiverSettings
from workers.worker import Worker
from workers.worker_settings import WorkerSettings

CONNECTIONS = 6
REPORTING_CONNECTIONS = 2
"""For who leads it, and for its rounds."""


def run_worker_process(settings: Settings) -> None:
    """Until a signal; what is under way comes to its end first."""
    _check_routes(settings)
    _check_receiver(settings)
    prepare()
    with worker_log(settings) as log:
        run_fast(_deliver(settings, log))


def worker_log(settings: Settings) -> AbstractContextManager[Log]:
    connections = CONNECTIONS + (REPORTING_CONNECTIONS if settings.give_up.url else 0)
    return process_log(settings, "worker", connections, settings.workers.transaction_duration)


def worker_settings(settings: Settings) -> WorkerSettings:
    given = settings.workers
    return WorkerSettings(
        claim_batch=given.bulk_limit,
        in_flight=given.workers,
        retry_in_flight=given.retry_workers,
        poll=given.requeue_every.total_seconds(),
        retry_poll=given.retry_requeue_every.total_seconds(),
        in_order=given.legacy_mode,
        startup_drain=given.startup_drain,
        handle_active_instances=given.handle_active_instances,
        max_active_instances=given.max_active_instances,
        lease=given.lease_period,
        dispatch_timeout=given.dispatch_timeout,
        max_claims=given.max_claims,
        drain=given.stop_timeout,
        result_buffer=given.result_buffer_size,
        result_sync=given.store_sync_interval,
        policies={channel: retry_policy(given, channel) for channel in Channels.model_fields},
    )


def retry_policy(given: RetrySettings, channel: str) -> RetryPolicy:
    return RetryPolicy(
        max_attempts=given.of(channel, "max_attempts"),
        min_delay=given.of(channel, "min_retry_delay").total_seconds(),
        max_delay=given.of(channel, "max_retry_delay").total_seconds(),
        factor=given.of(channel, "retry_delay_factor"),
        jitter=given.of(channel, "jitter"),
    )


def surroundings(settings: Settings) -> Surroundings:
    given = settings.providers
    return Surroundings(
        given.twilio_url,
        given.twilio_verify_url,
        networks(given.own_networks),
        providers_callback(settings),
    )


async def _deliver(settings: Settings, log: Log) -> None:
    deployment = {name: Route(channel, sender(settings)) for name, channel in channels(settings).items()}
    routes = InstanceRoutes(log, deployment, surroundings(settings), clock)
    # Jitter needs no secrecy.
    worker = Worker(log, routes, worker_settings(settings), clock=clock, chance=random.random)
    loop = asyncio.get_running_loop()

    def in_loop(call: Callable[[], None]) -> Callable[[], None]:
        def ask() -> None:
            loop.call_soon_threadsafe(call)

        return ask

    with (
        metrics_served(worker, settings.host, settings.workers.metrics_port),
        stop_on_signals() as stop,
        closing(Wakeups(log.database.conninfo)) as wakeups,
    ):
        wakeups.subscribe("due", call=in_loop(worker.wake_for_new))
        wakeups.subscribe("retries", call=in_loop(worker.wake))
        wakeups.start()
        async with _reporting(settings, log):
            say_ready()
            await worker.run(stop)


def receiver(settings: Settings) -> Receiver | None:
    """Whom to tell of give-ups."""
    given = settings.give_up
    if given.url is None:
        return None
    whom = ReceiverSettings(
        given.url, given.signing_keys(), networks(given.own_networks), given.timeout.total_seconds()
    )
    return Receiver(whom, clock)


def _reporting(settings: Settings, log: Log) -> AbstractAsyncContextManager[None]:
    whom = receiver(settings)
    return nullcontext() if whom is None else reporting(log, whom, clock)


def _check_receiver(settings: Settings) -> None:
    """Raises SettingsInvalid when the address is one that is never called."""
    whom = receiver(settings)
    fault = whom.fault() if whom else None
    if fault is not None:
        raise SettingsInvalid([f"give_up.url: {fault}"])


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
