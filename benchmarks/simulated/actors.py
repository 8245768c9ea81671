"""Who lives in a schedule: clients, the api, handlers, workers and an operator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeAlias

import msgspec

from benchmarks.simulated.loop import Process, VirtualLoop
from benchmarks.simulated.providers import SimulatedChannel
from benchmarks.simulated.world import World
from event_log import secret_store
from event_log.errors import EventLogError
from event_log.intake import Appended, BatchAnswer, CallerEvent, Intake, OtherBody
from projections import handler
from workers import worker as worker_module
from workers.rendering.mail import Sender
from workers.routes import Route
from workers.worker_settings import WorkerSettings

SENDER = Sender("no-reply@tidings.example", "Tidings")
ANSWER_WITHIN = 4.0
"""Seconds after which a client takes the api for dead."""

Batch: TypeAlias = tuple[str, list[CallerEvent]]


def here() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


class Wake:
    """A wake-up with a poll behind it."""

    def __init__(self) -> None:
        self._woken = False
        self._waiting: asyncio.Future[None] | None = None

    def set(self) -> None:
        self._woken = True
        self._let_go(self._waiting)

    async def wait(self, seconds: float) -> None:
        if not self._woken:
            self._waiting = here().create_future()
            here().call_later(seconds, self._let_go, self._waiting)
            await self._waiting
        self._woken = False

    @staticmethod
    def _let_go(waiting: asyncio.Future[None] | None) -> None:
        if waiting is not None and not waiting.done():
            waiting.set_result(None)


# --- the api and its clients ----------------------------------------------------------------------


class Api:
    """The process that takes events in; which one answers depends on who lives."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._process: Process | None = None
        self._intake: Intake | None = None

    async def live(self, process: Process) -> None:
        self._process = process
        self._intake = Intake(self._world.log_of(process))

    def ask(self, batch: Batch, answer: asyncio.Future[Any]) -> None:
        """A request from outside; no answer when the process is gone or goes."""
        process = self._process
        if process is not None and process.alive:
            process.after(self._world.provider_delay(), self._serve, process, batch, answer)

    def _serve(self, process: Process, batch: Batch, answer: asyncio.Future[Any]) -> None:
        assert self._intake is not None
        instance, events = batch
        future = self._intake.submit(instance, events)
        reply = self._world.loop.world
        future.add_done_callback(
            lambda done: reply.after(0.0, _pass_on, done, answer) if process.alive else None
        )


def _pass_on(done: Any, answer: asyncio.Future[Any]) -> None:  # noqa: ANN401  # a finished future
    if not answer.done():
        error = done.exception()
        answer.set_result(None if error is not None else done.result())


class Client:
    """Outside: it is never killed, tries until it has an answer, and remembers what it was told."""

    def __init__(self, world: World, api: Api, batches: list[Batch]) -> None:
        self._world = world
        self._api = api
        self._batches = batches
        self.told: dict[tuple[str, str], int] = {}
        """Positions by instance and id."""
        self.finished = False

    async def live(self, _: Process) -> None:
        for batch in self._batches:
            await self._store(batch)
            if self._world.chaos and self._world.random.random() < self._world.options.duplicates:
                await self._store(batch)
                await self._change(batch)
            await asyncio.sleep(self._world.random.choice((0.0, 0.0, 0.25, 2.0, 20.0)))
        self.finished = True

    async def _store(self, batch: Batch) -> None:
        answer = await self._until_answered(batch)
        if not isinstance(answer, tuple):
            self._world.violations.append(f"a batch was refused: {answer}")
            return
        for event, appended in zip(batch[1], answer, strict=True):
            self._remember(batch[0], event.id, appended)

    def _remember(self, instance: str, event_id: str, appended: Appended) -> None:
        known = self.told.setdefault((instance, event_id), appended.position)
        if known != appended.position:
            self._world.violations.append(
                f"event {event_id} was told to be at {known}, then {appended.position}"
            )

    async def _change(self, batch: Batch) -> None:
        """The same id for something else must be refused."""
        instance, events = batch
        other = msgspec.structs.replace(events[-1], data=events[-1].data | {"changed": True})
        answer = await self._until_answered((instance, [other]))
        if not isinstance(answer, OtherBody):
            self._world.violations.append(f"another body was taken for event {other.id}: {answer}")

    async def _until_answered(self, batch: Batch) -> BatchAnswer:
        while True:
            answer = here().create_future()
            self._api.ask(batch, answer)
            here().call_later(ANSWER_WITHIN, Wake._let_go, answer)  # noqa: SLF001  # None: no answer
            result: BatchAnswer | None = await answer
            if result is not None:
                return result
            await asyncio.sleep(0.5)


# --- the handler ----------------------------------------------------------------------------------


class Handling:
    def __init__(self, world: World) -> None:
        self._world = world

    async def live(self, process: Process) -> None:
        world, wake = self._world, Wake()
        world.subscribe(process, "source", wake.set)
        log, clock = world.log_of(process), world.clock_of(world.skew())
        forgotten = 0.0
        while True:
            try:
                while await asyncio.to_thread(
                    handler.handle_batch, log, clock, world.deployment, batch=world.options.batch
                ):
                    pass
                if here().now >= forgotten + 60:
                    forgotten = here().now
                    await asyncio.to_thread(_forget_expired, log, clock)
            except EventLogError:
                await asyncio.sleep(0.5)
            except Exception as error:  # noqa: BLE001  # as the real loop does
                world.surprise("handler", error)
                await asyncio.sleep(1.0)
            else:
                await wake.wait(world.options.poll)


def _forget_expired(log: Any, clock: Callable[[], Any]) -> None:  # noqa: ANN401  # a model's log
    with log.database.connection() as connection:
        secret_store.forget_expired(connection.cursor(), clock())


# --- workers --------------------------------------------------------------------------------------


class Working:
    def __init__(self, world: World) -> None:
        self._world = world

    def settings(self) -> WorkerSettings:
        options = self._world.options
        return WorkerSettings(
            claim_batch=options.claim_batch,
            in_flight=options.claim_batch * 2,
            retry_in_flight=options.claim_batch,
            poll=float(options.poll),
            retry_poll=float(options.poll),
            in_order=self._world.random.random() < options.in_order,
            result_sync=timedelta(seconds=options.gather),
            lease=timedelta(seconds=options.lease),
            dispatch_timeout=timedelta(seconds=options.lease - 4),
            max_claims=options.max_claims,
            drain=timedelta(seconds=10),
            policy=self._world.policy,
        )

    async def live(self, process: Process) -> None:
        world = self._world
        routes = {
            name: Route(SimulatedChannel(world, name, world.options.at_once), SENDER, verifies=name == "sms")
            for name in ("email", "sms")
        }
        worker = worker_module.Worker(
            world.log_of(process),
            routes,
            self.settings(),
            clock=world.clock_of(world.skew()),
            chance=world.jitter,
        )
        world.subscribe(process, "due", worker.wake_for_new)
        world.subscribe(process, "retries", worker.wake)
        stopped = asyncio.Event()
        if world.options.stops:
            world.stoppers[process] = lambda: _stop(worker, stopped)
        await worker.run(stopped)
        here().world.after(0.0, world.replace, process)


def _stop(worker: Any, stopped: asyncio.Event) -> None:  # noqa: ANN401
    stopped.set()
    worker.wake()
