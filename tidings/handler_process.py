"""The handler and the trailing read models as a process of their own. It cannot reach a channel."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing
from functools import partial

from event_log import secret_store
from event_log.log import Log
from event_log.wakeups import Wakeups
from notification_domain.policies import Deployment
from projections import handler, history
from projections.following import GATHER_SECONDS, Follower, trailing_round
from projections.handler import handle_batch
from projections.history import History
from projections.unknown_events import take_up
from tidings.composition import clock, process_log
from tidings.running import stop_on_signals, tune_interpreter
from tidings.settings import Settings
from tidings.supervised import say_ready

CONNECTIONS = 6
EXPIRY = "expired codes"
EXPIRY_SECONDS = 30.0
WAKES = {handler.NAME: ("source",), history.NAME: ("due", "progress"), EXPIRY: ()}
"""Which kinds of appends each follower is woken by."""


def run_handler_process(settings: Settings) -> None:
    """Until a signal. Several may run; one leads and the others stand by."""
    with process_log(settings, "handler", CONNECTIONS) as log:
        tune_interpreter()
        asyncio.run(_follow(log, deployment(settings)))


def deployment(settings: Settings) -> Deployment:
    return Deployment(
        external_scheme=settings.external.scheme,
        external_port=settings.external.port,
        max_ttl=settings.workers.max_ttl,
    )


def followers(log: Log, deployed: Deployment) -> dict[str, Follower]:
    rounds = {
        handler.NAME: partial(handle_batch, log, clock, deployed),
        history.NAME: partial(trailing_round, log, History()),
    }
    leads = {history.NAME: partial(take_up, log, History())}
    gather = {history.NAME: GATHER_SECONDS}
    following = {
        name: Follower(
            log.database, name, take_round, gather=gather.get(name, 0.0), leads=leads.get(name, _nothing)
        )
        for name, take_round in rounds.items()
    }
    expiry = partial(forget_expired_codes, log)
    return following | {EXPIRY: Follower(log.database, EXPIRY, expiry, poll=EXPIRY_SECONDS)}


def _nothing() -> None:
    """Nothing is left over from an older version."""


def forget_expired_codes(log: Log) -> int:
    """How many codes were removed whose time is over; their notifications could not use them any more."""
    with log.database.connection() as connection:
        return secret_store.forget_expired(connection.cursor(), clock())


async def _follow(log: Log, deployed: Deployment) -> None:
    following = followers(log, deployed)
    stopped = threading.Event()
    threads = [
        threading.Thread(target=follower.run, args=(stopped,), name=name)
        for name, follower in following.items()
    ]
    with stop_on_signals() as stop, closing(Wakeups(log.database.conninfo)) as wakeups:
        for name, follower in following.items():
            wakeups.subscribe(*WAKES[name], call=follower.wake)
        wakeups.start()
        for thread in threads:
            thread.start()
        say_ready()
        await stop.wait()
        stopped.set()
        for follower in following.values():
            follower.wake()
        await asyncio.gather(*(asyncio.to_thread(thread.join) for thread in threads))
