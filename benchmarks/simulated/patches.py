"""What the simulation puts in the place of threads, rendering, logging, the clock and chance."""

from __future__ import annotations

import os
import random
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, wraps
from typing import Any

import event_log.commands
import event_log.feedback
import event_log.intake
import projections.handler
import projections.overtaking
import workers.claiming
import workers.loading
import workers.preparing
import workers.recorder
import workers.recording
import workers.starting
import workers.worker
from benchmarks.simulated.lanes import SteppedLane
from benchmarks.simulated.loop import CURRENT
from event_log import notifications
from event_log.due_queue import Claim
from event_log.notifications import Move
from notification_domain import identity
from notification_domain.notification import Cancel
from notification_domain.notification_events import Reason
from notification_domain.source_events import Fact, interpret
from workers import loading, preparing, recording
from workers.channels.port import Mail, TextMessage
from workers.loading import Loaded
from workers.preparing import Preparation
from workers.recording import Answer, Held, Step

_FORBIDDEN: tuple[tuple[Any, str], ...] = (
    (time, "time"), (time, "time_ns"), (time, "monotonic"), (time, "monotonic_ns"), (time, "sleep"),
    (os, "urandom"), (uuid, "uuid4"), (uuid, "uuid1"),
    (random, "random"), (random, "choice"), (random, "randint"), (random, "uniform"), (random, "getrandbits"),
)  # fmt: skip


class RealityTouched(BaseException):
    """The real clock or real chance was asked during a run."""


class Quiet:
    """A logger that tells of nothing but what nobody expected."""

    def warning(self, *_: object, **__: object) -> None:
        pass

    info = debug = error = warning

    def exception(self, message: str, *_: object) -> None:  # as a logger's
        process = CURRENT.get()
        process.loop.complaints.append(f"{process.name}: {message}: {sys.exc_info()[1]!r}")


def _render(request: Any, envelope: Any, *_: object) -> Mail | TextMessage:  # noqa: ANN401  # the renderer's own types
    """Message id, notification and code: what the ledger must know."""
    message_id = envelope.message_id
    text = f"{message_id}|{message_id[1:37]}|{request.arguments['Code']}"
    if request.channel == "sms":
        return TextMessage(request.recipient, text)
    return Mail(envelope.sender.address, request.recipient, text.encode())


def _watched(log: Any, steps: Sequence[Step], *more: Any) -> list[Answer]:  # noqa: ANN401  # a model's log
    """What a worker writes, with what it asked for before our eyes."""
    cancelled = [step for step in steps if isinstance(step.command, Cancel)]
    if cancelled:
        log.database.nature.hesitate(
            [(one.held.instance, one.held.request.user_id) for one in cancelled if _locked(one)]
        )
    look_again = log.database.watchers["workers/recording:advance"](steps)
    answers = recording.advance(log, steps, *more)
    look_again(answers)
    return answers


def _loaded(log: Any, claims: Sequence[Claim]) -> list[Loaded]:  # noqa: ANN401  # a model's log
    """What a worker knows of its claims, with what it was to see before our eyes."""
    look_again = log.database.watchers["workers/loading:load"]()
    loaded = loading.load(log, claims)
    look_again(loaded)
    return loaded


def _prepare(held: Held, *more: Any) -> Preparation:  # noqa: ANN401  # as the real one
    """Preparing may take a while."""
    CURRENT.get().loop.linger(held)
    return preparing.prepare_message(held, *more)


def _stored(log: Any, move: Move) -> bool:  # noqa: ANN401  # a model's log
    """Others may be faster."""
    log.database.nature.overtake()
    return notifications.store_unless_overtaken(log, move)


def _locked(step: Step) -> bool:
    """Whether it is cancelled because of its user, as far as the request names one."""
    inactive = isinstance(step.command, Cancel) and step.command.reason is Reason.USER_INACTIVE
    return inactive and bool(step.held.request.user_id)


_apply, _record = workers.recorder.Recorder.apply, workers.recorder.Recorder.record


@wraps(_apply)
async def _applied(recorder: Any, step: Step) -> Answer:  # noqa: ANN401  # over a model's log
    """What a worker was told in the end, after all asking again."""
    answer = await _apply(recorder, step)
    recorder._log.database.watchers["workers/recorder:apply"](step, answer)  # noqa: SLF001
    return answer


@wraps(_record)
async def _recorded(recorder: Any, step: Step) -> Answer:  # noqa: ANN401  # over a model's log
    recorder._log.database.watchers["workers/recorder:record"](step)  # noqa: SLF001
    return await _record(recorder, step)


_send = workers.worker.Worker.send


@wraps(_send)
async def _sent(worker: Any, prepared: Any, delivery: Any) -> Any:  # noqa: ANN401  # over a model's log
    worker._log.database.watchers["workers/worker:send"](delivery)  # noqa: SLF001
    return await _send(worker, prepared, delivery)


def _refused(name: str) -> Callable[..., Any]:
    def refuse(*_: object, **__: object) -> Any:  # noqa: ANN401  # never returns
        raise RealityTouched(name)

    return refuse


_quiet = Quiet()
_standing: list[bool] = []
_STANDING: tuple[tuple[Any, str, Any], ...] = (
    (workers.recorder, "GroupCommit", SteppedLane),
    (event_log.intake, "GroupCommit", SteppedLane),
    (workers.recorder, "advance", _watched),
    (workers.starting, "advance", _watched),
    (workers.starting, "load", _loaded),
    (event_log.commands, "store_unless_overtaken", _stored),
    (event_log.feedback, "store_unless_overtaken", _stored),
    (workers.starting, "prepare_message", _prepare),
    (workers.recorder.Recorder, "apply", _applied),
    (workers.recorder.Recorder, "record", _recorded),
    (workers.worker.Worker, "send", _sent),
    (workers.preparing, "render", _render),
    (workers.worker, "_logger", _quiet),
    (workers.claiming, "_logger", _quiet),
    (workers.recorder, "_logger", _quiet),
    (workers.loading, "_logger", _quiet),
    (projections.handler, "_logger", _quiet),
    (identity, "_derive", lru_cache(maxsize=100_000)(identity._derive)),  # noqa: SLF001  # pure, and asked for often
    *((module, name, _refused(name)) for module, name in _FORBIDDEN),
)


def _understood(event_type: str, payload: dict[str, Any]) -> Fact | None:
    """As the next version does: it knows what "soon" means."""
    return interpret(event_type, {name: value for name, value in payload.items() if value != "soon"})


NEXT_VERSION: tuple[tuple[Any, str, Any], ...] = tuple(
    (module, "interpret", _understood)
    for module in (projections.handler, projections.overtaking, workers.recording)
)


@contextmanager
def patched(changes: tuple[tuple[Any, str, Any], ...]) -> Iterator[None]:
    """Set attributes for a while."""
    before = [(owner, name, owner.__dict__[name]) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in reversed(before):
            setattr(owner, name, value)


@contextmanager
def standing() -> Iterator[None]:
    """While schedules run; may be entered again within itself."""
    if _standing:
        yield
        return
    with patched(_STANDING):
        _standing.append(True)
        try:
            yield
        finally:
            _standing.clear()
