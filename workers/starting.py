"""From claims to attempts: load, prepare, and record in one commit which of them begin."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from msgspec.structs import replace

from event_log import due_queue
from event_log.callbacks import Reference, seal_reference
from event_log.due_queue import Claim
from event_log.failpoints import failpoint
from event_log.log import Log
from notification_domain.notification import (
    Attempting,
    Cancel,
    Command,
    Park,
    Postpone,
    StartAttempt,
    Transmitting,
)
from notification_domain.notification_events import Reason
from workers.channels.port import TextMessage
from workers.left_alone import LeftAlone
from workers.loading import Loaded, load
from workers.preparing import Hindered, Lacking, Prepared, prepare_message
from workers.recording import Advanced, Doubt, Held, Step, Subject, advance
from workers.routes import Closed, Route, Routes
from workers.worker_settings import WorkerSettings

Clock: TypeAlias = Callable[[], datetime]


class Starting:
    """Blocks, so it runs in a thread. ``chance`` gives floats in [0, 1)."""

    def __init__(
        self, log: Log, routes: Routes, settings: WorkerSettings, clock: Clock, chance: Callable[[], float]
    ) -> None:
        self._log = log
        self._routes = routes
        self._settings = settings
        self._clock = clock
        self._chance = chance
        self.left_alone = LeftAlone(clock)
        """What claims pass over."""

    def start(self, claims: Sequence[Claim]) -> list[tuple[Subject, Prepared]]:
        """Load and prepare what was claimed, and record its attempts in one commit."""
        loaded = load(self._log, claims)
        self._leave_alone(claims, {one.held.notification for one in loaded})
        failpoint("worker.loaded")
        self._routes.refresh({(one.held.instance, one.held.request.channel) for one in loaded})
        preparations = [self._prepare(one) for one in loaded]
        steps = [
            Step(one.subject, self._first_command(one, prepared))
            for one, prepared in zip(loaded, preparations, strict=True)
        ]
        failpoint("worker.prepared")
        answers = advance(self._log, steps, self._clock) if steps else []
        failpoint("worker.started")
        return [
            (replace(step.subject, held=answer.held), self._addressed(prepared, answer.held))
            for step, prepared, answer in zip(steps, preparations, answers, strict=True)
            if isinstance(prepared, Prepared)
            and isinstance(answer, Advanced)
            and isinstance(answer.held.state, Attempting)
        ]

    def _addressed(self, prepared: Prepared, held: Held) -> Prepared:
        """With what a callback about this very attempt names it by."""
        if not isinstance(prepared.message, TextMessage):
            return prepared
        reference = Reference(held.notification, held.progress.attempt)
        sealed = seal_reference(self._log.callback_seal, reference)
        return replace(prepared, message=replace(prepared.message, reference=sealed))

    def _leave_alone(self, claims: Sequence[Claim], read: Collection[UUID]) -> None:
        """What could not be read is given back at once, for a worker that can."""
        leases = [(one.notification, one.token) for one in claims if one.notification not in read]
        if not leases:
            return
        kept, overflow = self.left_alone.take(leases)
        with self._log.appending() as append:
            due_queue.release(append.cursor, kept)
            due_queue.release(append.cursor, overflow, rest=self._settings.lease)
            append.wake("due")
            append.wake("retries")

    def _prepare(self, one: Loaded) -> Prepared | Command:
        """The finished message, or the command that ends or postpones what cannot be sent."""
        route = self._routes.route(one.held.instance, one.held.request.channel)
        ended = _ended(one, route, self._clock(), self._settings)
        return ended or self._message(one, route)

    def _message(self, one: Loaded, route: Route | Closed | None) -> Prepared | Command:
        if isinstance(one.obstacle, Doubt):
            return self._postpone(one, Lacking(one.obstacle.stage, one.obstacle.error))
        if route is None:
            return self._postpone(one, Lacking("provider", "no provider is configured for this channel"))
        if isinstance(route, Closed):
            return self._postpone(one, Lacking(route.stage, route.error))
        preparation = prepare_message(one.held, one.recipient, route, one.code)
        match preparation:
            case Prepared():
                return preparation
            case Hindered(reason, error):
                return Cancel(reason, error)
            case Lacking():
                return self._postpone(one, preparation)

    def _postpone(self, one: Loaded, lacking: Lacking) -> Postpone:
        policy = self._settings.policy_of(one.held.request.channel)
        return Postpone(self._clock(), lacking.stage, lacking.error, policy, self._chance())

    def _first_command(self, one: Loaded, prepared: Prepared | Command) -> Command:
        if isinstance(prepared, Prepared):
            provider = prepared.route.channel.provider
            policy = self._settings.policy_of(one.held.request.channel)
            return StartAttempt(self._clock(), one.held.token, provider, policy)
        return prepared


def _ended(
    one: Loaded, route: Route | Closed | None, now: datetime, settings: WorkerSettings
) -> Command | None:
    """The command for a notification that must not be attempted now; None for one that may."""
    if one.lost_claims >= settings.max_claims:
        return Park(now, f"{one.lost_claims} claims were lost without a word")
    if isinstance(one.held.state, Transmitting):
        # Its worker is gone: starting anew makes the aggregate announce the doubt.
        return StartAttempt(now, one.held.token, "", settings.policy_of(one.held.request.channel))
    if isinstance(one.obstacle, Reason):
        return Cancel(one.obstacle)
    if now >= one.held.progress.expires_at:
        return Cancel(_what_was_missing(one, route))
    return None


def _what_was_missing(one: Loaded, route: Route | Closed | None) -> Reason:
    if route is None:
        return Reason.NO_PROVIDER
    if not one.recipient.known and one.held.progress.recipient is None:
        return Reason.NO_RECIPIENT
    return Reason.EXPIRED
