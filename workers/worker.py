"""The delivery pipeline: claim, load, prepare, start, send, record.

Each step is one small function over one notification; commits are shared by whatever is ready at the
same time. No lock and no transaction is held while a message is rendered or sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias
from weakref import WeakKeyDictionary

from event_log import due_queue, feedback
from event_log.callbacks import Reference
from event_log.due_queue import CODES, Claim, Lease, Wanted, new_token
from event_log.errors import EventLogError, LogUnavailable
from event_log.failpoints import failpoint
from event_log.log import Log
from notification_domain.notification import RecordOutcome, StartTransmission, Transmitting, Waiting
from notification_domain.outcomes import Deferred, Outcome
from workers.active_instances import ActiveInstances
from workers.channels.port import Channel
from workers.claiming import Claims, Pool
from workers.delivery import Delivery
from workers.preparing import Prepared
from workers.recorder import Recorder
from workers.recording import Advanced, Held, Step, Subject
from workers.round import Round
from workers.routes import FixedRoutes, Route, Routes
from workers.stages import Stage
from workers.starting import Starting
from workers.tally import Kind, Tally, kind_of
from workers.turns import Rank, Turns
from workers.worker_settings import WorkerSettings

_logger = logging.getLogger(__name__)

Clock: TypeAlias = Callable[[], datetime]
_LAST_WORDS = 5.0
"""Seconds for recording what a stopping worker cut short."""


class Worker:
    """Delivers what is due until it is told to stop. ``chance`` gives floats in [0, 1)."""

    def __init__(
        self,
        log: Log,
        routes: Mapping[str, Route] | Routes,
        settings: WorkerSettings,
        *,
        clock: Clock,
        chance: Callable[[], float],
    ) -> None:
        self._log = log
        self._routes: Routes = FixedRoutes(routes) if isinstance(routes, Mapping) else routes
        self._settings = settings
        self._clock = clock
        self._chance = chance
        self._recorder = Recorder(
            log,
            chance=chance,
            clock=clock,
            most=settings.result_buffer,
            gather=settings.result_sync.total_seconds(),
        )
        # Waiting for a turn is no part of an attempt: the dispatch time-out begins with the turn.
        self._turns: WeakKeyDictionary[Channel, Turns] = WeakKeyDictionary()
        self._starting = Starting(log, self._routes, settings, clock, chance)
        active = ActiveInstances(settings.max_active_instances, settings.handle_active_instances, clock)
        self._rounds = {pool: Round(active, clock, in_order=pool.in_order) for pool in settings.pools()}
        self._claims = [
            Claims(pool, self._claim, self._starting.start, self._set_off) for pool in self._rounds
        ]
        self._under_way: dict[asyncio.Task[None], Delivery] = {}
        self._crowds: Counter[str] = Counter()
        self._others = 0
        """Under way, and no codes."""
        self.tally = Tally()

    def wake(self) -> None:
        """Something may be due; call it in the loop's own thread."""
        for claims in self._claims:
            claims.wake()

    def wake_for_new(self) -> None:
        """A first attempt may be due: whoever takes all of them is enough, unless it has its hands full."""
        able = [claims for claims in self._claims if False in claims.pool.retries]
        for claims in able[:1] if able and able[0].is_idle else able:
            claims.wake()

    def under_way(self) -> list[tuple[Kind, Stage]]:
        """What is being delivered, and how far it has come; for any thread."""
        return [(kind_of(one.subject.held), one.stage) for one in list(self._under_way.values())]

    async def run(self, stopped: asyncio.Event) -> None:
        renewal = asyncio.create_task(self._renew_leases())
        try:
            drain = self._settings.startup_drain
            await asyncio.gather(
                stopped.wait(), *(claims.run(stopped, drain=drain) for claims in self._claims)
            )
            self._recorder.hurry()
            await self._finish()
        finally:
            renewal.cancel()
            await asyncio.to_thread(self._recorder.close)
            await self._routes.close()

    # --- claim ------------------------------------------------------------------------------------

    def _claim(self, pool: Pool) -> tuple[list[Claim], bool]:
        if pool.is_reserve and not self._reserve_is_needed():
            return [], False
        round_ = self._rounds[pool]
        with self._log.database.connection() as connection:
            claims = round_.take(connection.cursor(binary=True), self._wanted(pool))
        failpoint("worker.claimed")
        return claims, round_.may_have_more

    def _reserve_is_needed(self) -> bool:
        """Whether codes have to pass others by, or find every other place taken."""
        common = [one for one in self._claims if False in one.pool.retries and not one.pool.is_reserve]
        return self._others > 0 or all(one.is_full for one in common)

    def _wanted(self, pool: Pool) -> Wanted:
        return Wanted(
            now=self._clock(),
            limit=pool.batch,
            lease=self._settings.lease,
            token=new_token(self._log.chance),
            channels=tuple(self._routes.channels()),
            retries=pool.retries,
            priorities=pool.priorities,
            left_alone=self._starting.left_alone.notifications(),
        )

    # --- load, prepare, start ---------------------------------------------------------------------

    def _rank(self, held: Held) -> Rank:
        """Codes go first, then whose instance has the least under way."""
        return held.request.priority, self._crowds[held.instance]

    def _set_off(self, started: tuple[Subject, Prepared]) -> asyncio.Task[None]:
        subject, prepared = started
        delivery = Delivery(self, subject, prepared, self._rank(subject.held))
        task = asyncio.create_task(self._deliver(delivery))
        self._under_way[task] = delivery
        self._crowds[delivery.subject.held.instance] += 1
        self._others += _is_no_code(delivery)
        self.tally.begun(delivery.subject.held, self._clock())
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        delivery = self._under_way.pop(task)
        instance = delivery.subject.held.instance
        self._crowds[instance] -= 1
        if not self._crowds[instance]:
            del self._crowds[instance]
        self._others -= _is_no_code(delivery)

    # --- send, record -----------------------------------------------------------------------------

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            await delivery.run()
            delivery.count(self.tally)
        except Exception:
            # Nothing was recorded: the lease runs out and another claim looks at what the log says.
            _logger.exception("delivery of %s failed", delivery.subject.held.title)

    async def send(self, prepared: Prepared, delivery: Delivery) -> Outcome | None:
        """One attempt on the channel; the dispatch time-out ends at the point of no return."""
        channel = prepared.route.channel
        async with self._turns_on(channel).turn(delivery.rank):
            delivery.stage = Stage.DISPATCHING
            try:
                async with asyncio.timeout(self._settings.dispatch_timeout.total_seconds()) as limit:
                    delivery.limit = limit
                    failpoint("worker.sending")
                    return await channel.deliver(prepared.message, delivery.begin)
            except TimeoutError:
                return Deferred("dispatch", "the dispatch time-out passed before transmission began")

    def _turns_on(self, channel: Channel) -> Turns:
        turns = self._turns.get(channel)
        if turns is None:
            turns = self._turns[channel] = Turns(channel.at_once)
        return turns

    async def transmit(self, subject: Subject) -> Held | None:
        """Record that transmission begins; None when it must not."""
        policy = self._settings.policy_of(subject.held.request.channel)
        command = StartTransmission(self._clock(), policy=policy, jitter=self._chance())
        answer = await self._recorder.apply(Step(subject, command))
        if isinstance(answer, Advanced) and isinstance(answer.held.state, Transmitting):
            return answer.held
        return None

    async def record(self, subject: Subject, outcome: Outcome, prepared: Prepared) -> None:
        held = subject.held
        command = RecordOutcome(
            at=self._clock(),
            outcome=outcome,
            policy=self._settings.policy_of(held.request.channel),
            jitter=self._chance(),
            recipient=subject.user,
            provider=held.progress.provider,
            template_version=prepared.template_version,
            text_version=prepared.text_version,
        )
        answer = await self._recorder.record(Step(subject, command))
        if not isinstance(answer, Advanced):
            _logger.warning("the outcome of %s came late: %s", held.title, answer.why)
            await self._tell_late(held, outcome)
        elif isinstance(answer.held.state, Waiting) and answer.held.progress.not_before <= self._clock():
            self.wake()

    async def _tell_late(self, held: Held, outcome: Outcome) -> None:
        """It ends nothing any more, but it may prove something."""
        report = feedback.late_reply(outcome)
        if report is None:
            return
        reference = Reference(held.notification, held.progress.attempt)
        try:
            await asyncio.to_thread(feedback.hear, self._log, reference, report)
        except EventLogError as error:
            _logger.warning("the late reply on %s is lost: %s", held.notification, error)

    # --- leases and stopping ----------------------------------------------------------------------

    async def _renew_leases(self) -> None:
        while True:
            await asyncio.sleep(self._settings.lease.total_seconds() / 3)
            leases = [one.lease for one in self._under_way.values()]
            leases += [
                (claim.notification, claim.token) for claims in self._claims for claim in claims.unbegun
            ]
            if leases:
                try:
                    await asyncio.to_thread(self._renew, leases)
                except LogUnavailable as error:
                    _logger.warning("leases were not renewed: %s", error)

    def _renew(self, leases: Sequence[Lease]) -> None:
        with self._log.database.connection() as connection:
            due_queue.renew(connection.cursor(), leases, self._settings.lease)

    async def _finish(self) -> None:
        """Let what has its turn come to its end, within a bound; what is left is accounted for."""
        await self._cut_short(task for task, one in self._under_way.items() if one.stage is Stage.WAITING)
        if self._under_way:
            _, late = await asyncio.wait(list(self._under_way), timeout=self._settings.drain.total_seconds())
            await self._cut_short(late)

    async def _cut_short(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        begun = {task: self._under_way[task] for task in tasks}
        for task in begun:
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)
        await self._account_for([delivery for task, delivery in begun.items() if task.cancelled()])

    async def _account_for(self, cut: Sequence[Delivery]) -> None:
        """Nothing that was cut short waits for its lease to end."""
        words = [(delivery, delivery.last_word()) for delivery in cut]
        telling = [self.record(one.subject, word, one.prepared) for one, word in words if word is not None]
        if telling:
            _logger.warning("%s deliveries were cut short by stopping", len(telling))
            await asyncio.wait([asyncio.create_task(one) for one in telling], timeout=_LAST_WORDS)
        unused = [(claim.notification, claim.token) for claims in self._claims for claim in claims.unbegun]
        unused += [one.lease for one, word in words if word is None]
        if unused:
            await asyncio.to_thread(self._give_back, unused)

    def _give_back(self, leases: Sequence[Lease]) -> None:
        try:
            with self._log.appending() as append:
                due_queue.release(append.cursor, leases)
                append.wake("due")
                append.wake("retries")
        except EventLogError as error:
            _logger.warning("%s leases run out by themselves: %s", len(leases), error)


def _is_no_code(delivery: Delivery) -> bool:
    return delivery.subject.held.request.priority not in CODES
