"""What an operator asks of one notification: cancel it, send it again, end a doubt.

Read, decide, and store under the append lock if nobody has moved it meanwhile; else look again. So a
cancellation and a worker's point of no return never both happen.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

import msgspec

from event_log import secret_store
from event_log.envelope import RecordedEvent
from event_log.errors import LogUnavailable, Undecodable
from event_log.log import Log, read_stream
from event_log.notifications import Move, fold_stream, store_unless_overtaken
from notification_domain.notification import (
    Cancel,
    Cancelled,
    Command,
    Declined,
    Initial,
    Parked,
    Progress,
    RequestResend,
    Resolve,
    Sent,
    State,
    Transmitting,
    decide,
    go_on,
    state_name,
)
from notification_domain.notification_events import Reason, ResendRequested
from notification_domain.policies import Deployment, renewed_expiry

TRIES = 20
"""A notification moves a few times a second at most: who is overtaken so often is not meant to win."""


class Order(msgspec.Struct, frozen=True):
    """Which notification, why, and by whose key."""

    notification: UUID
    instance: str
    reason: str
    by: str
    idempotency_key: str = ""
    """Where given, a new cycle that was begun under this name before is answered for, not begun again."""


class Hindrance(StrEnum):
    HANDED_OVER = "handed over"
    DECLINED = "declined"
    STILL_OPEN = "still open"
    CODE_GONE = "code gone"
    EXPIRED = "expired"
    NOT_PARKED = "not parked"
    UNREADABLE = "unreadable"
    KEY_REUSED = "key reused"


class Done(msgspec.Struct, frozen=True):
    """The notification is as it was asked for; its stream, oldest first."""

    history: list[RecordedEvent]
    repeated: bool = False
    """It was so before."""


class Hindered(msgspec.Struct, frozen=True):
    """Nothing was changed, and why; ``position`` is that of the notification's newest event."""

    by: Hindrance
    state: str
    position: int


Answer: TypeAlias = Done | Hindered | None
"""None: the instance has no such notification."""


class _Standing(msgspec.Struct, frozen=True):
    history: list[RecordedEvent]
    state: State

    def hindered(self, by: Hindrance) -> Hindered:
        return Hindered(by, state_name(self.state), self.history[-1].position)

    def unchanged(self) -> Done:
        return Done(self.history, repeated=True)


_Verdict: TypeAlias = Command | Done | Hindered


def cancel(log: Log, order: Order) -> Answer:
    """Idempotent: what is cancelled stays so, whoever did it."""

    def judge(standing: _Standing) -> _Verdict:
        match standing.state:
            case Cancelled():
                return standing.unchanged()
            case Transmitting() | Sent():
                return standing.hindered(Hindrance.HANDED_OVER)
            case Declined():
                return standing.hindered(Hindrance.DECLINED)
            case _:
                return Cancel(Reason.OPERATOR, order.reason, order.by)

    return _carry_out(log, order, judge)


def resend(log: Log, order: Order, now: datetime, deployment: Deployment) -> Answer:
    """Begin a new cycle of a closed notification. Refused while it is open, so that two cannot overlap."""

    def judge(standing: _Standing) -> _Verdict:
        match standing.state:
            case Sent(progress) | Cancelled(progress):
                if not _has_its_code(log, progress, now):
                    return standing.hindered(Hindrance.CODE_GONE)
                expires_at = renewed_expiry(progress.request, now, deployment)
                return RequestResend(now, order.reason, expires_at, order.by, order.idempotency_key)
            case Declined():
                return standing.hindered(Hindrance.DECLINED)
            case _:
                return standing.hindered(Hindrance.STILL_OPEN)

    return _carry_out(log, order, judge)


def resolve(log: Log, order: Order, now: datetime, outcome: str) -> Answer:
    """End the doubt about a parked notification; ``outcome`` is sent, retry or cancelled."""

    def judge(standing: _Standing) -> _Verdict:
        if not isinstance(standing.state, Parked):
            return standing.hindered(Hindrance.NOT_PARKED)
        progress = standing.state.progress
        if outcome == "retry" and progress.expires_at <= now:
            return standing.hindered(Hindrance.EXPIRED)
        if outcome == "retry" and not _has_its_code(log, progress, now):
            return standing.hindered(Hindrance.CODE_GONE)
        return Resolve(now, outcome, order.reason, order.by, order.idempotency_key)

    return _carry_out(log, order, judge)


def _has_its_code(log: Log, progress: Progress, now: datetime) -> bool:
    """True too for what never had one."""
    request = progress.request
    if request.code_expires_at is not None and request.code_expires_at <= now:
        return False
    if not request.secret:
        return True
    with log.database.connection() as connection:
        return secret_store.is_kept(connection.cursor(), request.secret, now)


def _carry_out(log: Log, order: Order, judge: Callable[[_Standing], _Verdict]) -> Answer:
    for _ in range(TRIES):
        standing = _standing(log, order)
        if not isinstance(standing, _Standing):
            return standing
        verdict = _answer_again(standing, order) or judge(standing)
        if isinstance(verdict, Done | Hindered):
            return verdict
        if _store(log, order, standing, verdict):
            return Done(read_stream(log, order.notification))
    raise LogUnavailable(f"notification {order.notification} moves too fast to be caught")


def _standing(log: Log, order: Order) -> _Standing | Hindered | None:
    history = read_stream(log, order.notification)
    if not history or history[0].instance != order.instance:
        return None
    try:
        state = fold_stream(history)
    except Undecodable:
        return Hindered(Hindrance.UNREADABLE, "", history[-1].position)
    return None if isinstance(state, Initial) else _Standing(history, state)


def _answer_again(standing: _Standing, order: Order) -> Done | Hindered | None:
    """What a request of the same name has led to before."""
    for event in standing.history if order.idempotency_key else ():
        fact = event.fact
        if isinstance(fact, ResendRequested) and fact.idempotency_key == order.idempotency_key:
            same = fact.reason == order.reason
            return standing.unchanged() if same else standing.hindered(Hindrance.KEY_REUSED)
    return None


def _store(log: Log, order: Order, standing: _Standing, command: Command) -> bool:
    """Whether it was stored; False when the notification has moved since it was read."""
    before, events = standing.state, decide(standing.state, command)
    assert events, "what cannot be done was refused before"
    assert not isinstance(before, Initial | Declined), "these are refused whatever is asked for"
    state = go_on(before, events)
    move = Move(order.notification, order.instance, events, len(standing.history), state)
    return store_unless_overtaken(log, move)
