"""The delivery pipeline: claim, load, prepare, start, send, record.

Each step is one small function over one notification; commits are shared by whatever is ready at the
same time. No lock and no transaction is held while a message is rendered or sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias
from uuid import UUID

import msgspec
from msgspec.structs import replace

from event_log import due_queue
from event_log.due_queue import Claim
from event_log.errors import EventLogError, LogUnavailable
from event_log.failpoints import failpoint
from event_log.log import Log
from notification_domain.backoff import RetryPolicy
from notification_domain.notification import (
    Attempting,
    Cancel,
    Command,
    Park,
    Postpone,
    RecordOutcome,
    StartAttempt,
    StartTransmission,
    Transmitting,
)
from notification_domain.notification_events import Reason
from notification_domain.outcomes import Deferred, Outcome
from workers.channels.port import Channel
from workers.loading import Loaded, load
from workers.preparing import Hindered, Lacking, Prepared, prepare_message
from workers.recorder import Recorder
from workers.recording import Advanced, Held, Step, Subject, advance
from workers.rendering.mail import Sender

_logger = logging.getLogger(__name__)

Clock: TypeAlias = Callable[[], datetime]
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


class Route(msgspec.Struct, frozen=True):
    """How messages of one channel travel: the channel, and whom they come from."""

    channel: Channel
    sender: Sender


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    claim_batch: int = 100
    """Notifications leased by one claim at most."""
    in_flight: int = 200
    """Deliveries under way at once; claims wait when there are more."""
    poll: float = 1.0
    """Seconds; the longest a due notification waits when a wake-up is lost."""
    lease: timedelta = timedelta(seconds=30)
    dispatch_timeout: timedelta = timedelta(seconds=20)
    """Everything up to the point of no return; below the lease."""
    max_claims: int = 20
    drain: timedelta = timedelta(seconds=30)
    """How long a stopping worker waits for what is under way."""
    policy: RetryPolicy = RetryPolicy()


class Worker:
    """Delivers what is due until it is told to stop. ``chance`` gives floats in [0, 1)."""

    def __init__(
        self,
        log: Log,
        routes: Mapping[str, Route],
        settings: WorkerSettings,
        *,
        clock: Clock,
        chance: Callable[[], float],
    ) -> None:
        self._log = log
        self._routes = routes
        self._settings = settings
        self._clock = clock
        self._chance = chance
        self._recorder = Recorder(log, chance=chance)
        # Waiting for a turn is no part of an attempt: the dispatch time-out begins with the turn.
        self._turns = {name: asyncio.Semaphore(route.channel.at_once) for name, route in routes.items()}
        self._woken = asyncio.Event()
        self._served = ""
        self._claimed: list[Claim] = []
        self._under_way: dict[UUID, Held] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Something may be due; call it in the loop's own thread."""
        self._woken.set()

    async def run(self, stopped: asyncio.Event) -> None:
        renewal = asyncio.create_task(self._renew_leases())
        try:
            await self._claim_until(stopped)
            await self._finish()
        finally:
            renewal.cancel()
            await asyncio.to_thread(self._recorder.close)
            for route in self._routes.values():
                await route.channel.close()

    # --- claim ------------------------------------------------------------------------------------

    async def _claim_until(self, stopped: asyncio.Event) -> None:
        pause = _FIRST_PAUSE
        while not stopped.is_set():
            try:
                if not await self._round(stopped):
                    await self._wait(stopped, self._settings.poll)
                pause = _FIRST_PAUSE
            except EventLogError as error:
                _logger.warning("no claims: %s; trying again in %.1f s", error, pause)
                await self._wait(stopped, pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            except Exception:
                _logger.exception("a round failed; trying again in %.1f s", pause)
                await self._wait(stopped, pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _wait(self, stopped: asyncio.Event, seconds: float) -> None:
        waits = {asyncio.create_task(self._woken.wait()), asyncio.create_task(stopped.wait())}
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _round(self, stopped: asyncio.Event) -> bool:
        """Claim once and send what was claimed on its way; whether there was anything to do."""
        self._woken.clear()
        batch = min(self._settings.claim_batch, self._settings.in_flight)
        if not await self._has_room(batch, stopped):
            return False
        claims, self._claimed = self._claimed or await asyncio.to_thread(self._claim, batch), []
        if claims:
            await self._begin(claims)
        return bool(claims)

    async def _has_room(self, batch: int, stopped: asyncio.Event) -> bool:
        """Wait for room for a whole batch, which costs no more to claim than one row; False when stopped."""
        stopping = asyncio.create_task(stopped.wait())
        while len(self._tasks) > self._settings.in_flight - batch and not stopped.is_set():
            await asyncio.wait({stopping, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        return not stopped.is_set()

    def _claim(self, limit: int) -> list[Claim]:
        with self._log.database.connection() as connection:
            claims = due_queue.claim(
                connection.cursor(),
                self._clock(),
                limit=limit,
                lease=self._settings.lease,
                channels=list(self._routes),
                after=self._served,
            )
        failpoint("worker.claimed")
        # The next round goes on behind the instance this one came to last.
        served = [(claim.instance <= self._served, claim.instance) for claim in claims]
        self._served = max(served)[1] if served else self._served
        return claims

    # --- load, prepare, start ---------------------------------------------------------------------

    async def _begin(self, claims: Sequence[Claim]) -> None:
        try:
            started = await asyncio.to_thread(self._start, claims)
        except LogUnavailable:
            # Their leases still run: they are begun when the database is back, not when the leases end.
            self._claimed = list(claims)
            raise
        for subject, prepared in started:
            self._under_way[subject.held.notification] = subject.held
            task = asyncio.create_task(self._deliver(subject, prepared))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _start(self, claims: Sequence[Claim]) -> list[tuple[Subject, Prepared]]:
        """Load and prepare what was claimed, and record its attempts in one commit."""
        loaded = load(self._log, claims)
        failpoint("worker.loaded")
        preparations = [self._prepare(one) for one in loaded]
        steps = [
            Step(one.subject, self._first_command(one, prepared))
            for one, prepared in zip(loaded, preparations, strict=True)
        ]
        failpoint("worker.prepared")
        answers = advance(self._log, steps) if steps else []
        failpoint("worker.started")
        return [
            (replace(step.subject, held=answer.held), prepared)
            for step, prepared, answer in zip(steps, preparations, answers, strict=True)
            if isinstance(prepared, Prepared)
            and isinstance(answer, Advanced)
            and isinstance(answer.held.state, Attempting)
        ]

    def _prepare(self, one: Loaded) -> Prepared | Command:
        """The finished message, or the command that ends or postpones what cannot be sent."""
        route = self._routes.get(one.held.request.channel)
        ended = _ended(one, route, self._clock(), self._settings)
        return ended or self._message(one, route)

    def _message(self, one: Loaded, route: Route | None) -> Prepared | Command:
        if route is None:
            return self._postpone(Lacking("provider", "no provider is configured for this channel"))
        preparation = prepare_message(one.held, one.recipient, route.sender, one.code)
        match preparation:
            case Prepared():
                return preparation
            case Hindered(reason, error):
                return Cancel(reason, error)
            case Lacking():
                return self._postpone(preparation)

    def _postpone(self, lacking: Lacking) -> Postpone:
        return Postpone(self._clock(), lacking.stage, lacking.error, self._settings.policy, self._chance())

    def _first_command(self, one: Loaded, prepared: Prepared | Command) -> Command:
        if isinstance(prepared, Prepared):
            channel = self._routes[one.held.request.channel].channel
            return StartAttempt(self._clock(), one.held.token, channel.provider, self._settings.policy)
        return prepared

    # --- send, record -----------------------------------------------------------------------------

    async def _deliver(self, subject: Subject, prepared: Prepared) -> None:
        try:
            await _Delivery(self, subject, prepared).run()
        except Exception:
            # Nothing was recorded: the lease runs out and another claim looks at what the log says.
            _logger.exception("delivery of %s failed", subject.held.notification)
        finally:
            self._under_way.pop(subject.held.notification, None)

    async def send(self, subject: Subject, prepared: Prepared, delivery: _Delivery) -> Outcome | None:
        """One attempt on the channel; the dispatch time-out ends at the point of no return."""
        name = subject.held.request.channel
        async with self._turns[name]:
            try:
                async with asyncio.timeout(self._settings.dispatch_timeout.total_seconds()) as limit:
                    delivery.limit = limit
                    failpoint("worker.sending")
                    return await self._routes[name].channel.deliver(prepared.message, delivery.begin)
            except TimeoutError:
                return Deferred("dispatch", "the dispatch time-out passed before transmission began")

    async def transmit(self, subject: Subject) -> Held | None:
        """Record that transmission begins; None when it must not."""
        answer = await self._recorder.apply(Step(subject, StartTransmission(self._clock())))
        if isinstance(answer, Advanced) and isinstance(answer.held.state, Transmitting):
            return answer.held
        return None

    async def record(self, subject: Subject, outcome: Outcome, prepared: Prepared) -> None:
        held = subject.held
        command = RecordOutcome(
            at=self._clock(),
            outcome=outcome,
            policy=self._settings.policy,
            jitter=self._chance(),
            recipient=subject.user,
            provider=held.progress.provider,
            template_version=prepared.template_version,
            text_version=prepared.text_version,
        )
        answer = await self._recorder.apply(Step(subject, command))
        if not isinstance(answer, Advanced):
            _logger.warning("the outcome of %s came late: %s", held.notification, answer.why)

    # --- leases and stopping ----------------------------------------------------------------------

    async def _renew_leases(self) -> None:
        while True:
            await asyncio.sleep(self._settings.lease.total_seconds() / 3)
            leases = [(held.notification, held.token) for held in self._under_way.values()]
            if leases:
                try:
                    await asyncio.to_thread(self._renew, leases)
                except LogUnavailable as error:
                    _logger.warning("leases were not renewed: %s", error)

    def _renew(self, leases: Sequence[tuple[UUID, int]]) -> None:
        with self._log.database.connection() as connection:
            due_queue.renew(connection.cursor(), leases, self._settings.lease)

    async def _finish(self) -> None:
        """Let what is under way come to its end, within a bound."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=self._settings.drain.total_seconds())
        for task in late:
            task.cancel()
        if late:
            _logger.warning("%s deliveries were cut short by stopping", len(late))
            await asyncio.wait(late)


class _Delivery:
    """One attempt under way."""

    def __init__(self, worker: Worker, subject: Subject, prepared: Prepared) -> None:
        self._worker = worker
        self._subject = subject
        self._prepared = prepared
        self.limit: asyncio.Timeout | None = None

    async def run(self) -> None:
        outcome = await self._worker.send(self._subject, self._prepared, self)
        failpoint("worker.answered")
        if outcome is not None:
            await self._worker.record(self._subject, outcome, self._prepared)

    async def begin(self) -> bool:
        """The point of no return; from here on only the channel's own time limits hold."""
        held = await self._worker.transmit(self._subject)
        if held is None:
            return False
        self._subject = replace(self._subject, held=held)
        if self.limit is not None:
            self.limit.reschedule(None)
        failpoint("worker.transmitting")
        return True


def _ended(one: Loaded, route: Route | None, now: datetime, settings: WorkerSettings) -> Command | None:
    """The command for a notification that must not be attempted now; None for one that may."""
    if one.lost_claims >= settings.max_claims:
        return Park(now, f"{one.lost_claims} claims were lost without a word")
    if isinstance(one.held.state, Transmitting):
        # Its worker is gone: starting anew makes the aggregate announce the doubt.
        return StartAttempt(now, one.held.token, "", settings.policy)
    if one.obstacle is not None:
        return Cancel(one.obstacle)
    if now >= one.held.progress.expires_at:
        return Cancel(_what_was_missing(one, route))
    return None


def _what_was_missing(one: Loaded, route: Route | None) -> Reason:
    if route is None:
        return Reason.NO_PROVIDER
    if not one.recipient.known and one.held.progress.recipient is None:
        return Reason.NO_RECIPIENT
    return Reason.EXPIRED
