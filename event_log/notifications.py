"""Storing what a notification decided, with all that follows from it, in one transaction.

Its events, its due row, the write-back on the source stream, and the code nobody needs any more: whoever
moves a notification, a worker or an operator, does it through ``store``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from event_log import due_queue
from event_log.database import LogCursor
from event_log.envelope import Envelope, RecordedEvent, SourceEvent
from event_log.errors import Undecodable
from event_log.log import Append, Log
from event_log.mapper import FINGERPRINT_BYTES
from event_log.recorder import Columns
from event_log.sql import load
from notification_domain import identity
from notification_domain.notification import (
    Initial,
    Parked,
    Progress,
    Requested,
    State,
    Waiting,
    fold,
    is_closed,
)
from notification_domain.notification_events import (
    Event,
    FeedbackReceived,
    NotificationDeclined,
    NotificationRequested,
    NotificationSent,
    ResendRequested,
)
from notification_domain.triggers import Trigger, trigger_named

_queries = load("event_log", "notifications.sql")


class Move(msgspec.Struct, frozen=True):
    """Events a requested notification decided on, and where they have brought it."""

    notification: UUID
    instance: str
    events: tuple[Event, ...]
    before: int
    """The stream's version in front of the events."""
    state: Requested
    """After the events."""

    @property
    def progress(self) -> Progress:
        return self.state.progress

    @property
    def request(self) -> NotificationRequested:
        return self.state.progress.request


class Change(msgspec.Struct, frozen=True):
    """Moves with all the events that follow from them, some perhaps sealed already."""

    moves: Sequence[Move]
    events: Sequence[Envelope]
    sealed: Columns | None = None


def change(moves: Sequence[Move], versions: Mapping[UUID, int]) -> Change:
    """``versions`` holds those of the source streams of all that were sent."""
    moves = [move for move in moves if move.events]
    events = [envelope for move in moves for envelope in _envelopes(move)]
    return Change(moves, events + _write_backs(moves, versions))


def store(append: Append, change: Change) -> None:
    """The caller has checked, under the append lock, that each stream still is at its version."""
    append.write(change.events, sealed=change.sealed, wake="progress")
    moves = change.moves
    rows = [due_queue.due_row(move.notification, move.instance, move.state) for move in moves if _waits(move)]
    due_queue.put(append.cursor, [row for row in rows if row])
    if any(isinstance(event, ResendRequested) for move in moves for event in move.events):
        append.wake("due")
    close(append.cursor, [move.notification for move in moves if is_closed(move.state)])


def close(cursor: LogCursor, notifications: Sequence[UUID]) -> None:
    """Their due rows go, and the codes that no open notification needs any more."""
    if notifications:
        cursor.execute(_queries.close, {"notifications": list(notifications)}, prepare=True)


def store_unless_overtaken(log: Log, move: Move) -> bool:
    """Whether it was stored; False when the notification has moved since it was read."""
    with log.appending() as append:
        versions = append.versions([move.notification, cause_of(move.instance, move.request)[0]])
        if versions[move.notification] != move.before:
            return False
        store(append, change([move], versions))
        return True


def fold_stream(events: Sequence[RecordedEvent]) -> State:
    """The state a stream has come to; raises Undecodable when not all of it can be read."""
    facts: list[Event] = []
    for event in events:
        if isinstance(event.fact, Undecodable):
            raise event.fact
        if not isinstance(event.fact, Event):
            return Initial()
        facts.append(event.fact)
    return fold(facts)


def cause_of(instance: str, request: NotificationRequested) -> tuple[UUID, int]:
    """Stream and version of the event a notification derives from."""
    return identity.stream_id(instance, request.source.subject), request.source.version


def key_subject(decision: NotificationRequested | NotificationDeclined) -> str:
    """Whose key seals a notification's events: its user's, where one is known."""
    return f"user/{decision.user_id}" if decision.user_id else decision.source.subject


def _waits(move: Move) -> bool:
    """Whether the row's time is set anew: an attempt going on keeps its row and its lease.

    Feedback that moves nothing leaves the row alone too: it may have been pulled forward.
    """
    waits = isinstance(move.state, Waiting | Parked)
    return waits and any(not isinstance(event, FeedbackReceived) for event in move.events)


def _envelopes(move: Move) -> list[Envelope]:
    return [
        Envelope(
            instance=move.instance,
            stream=move.notification,
            version=version,
            subject=key_subject(move.request),
            fact=event,
        )
        for version, event in enumerate(move.events, move.before + 1)
    ]


def _write_backs(moves: Sequence[Move], versions: Mapping[UUID, int]) -> list[Envelope]:
    """A sent event on the source stream for each notification that was sent, at the stream's next version."""
    sent = [move for move in moves for event in move.events if isinstance(event, NotificationSent)]
    reached: dict[UUID, int] = {}
    envelopes = []
    for move in sent:
        stream, _ = cause_of(move.instance, move.request)
        trigger = trigger_named(move.request.rule)
        if trigger is not None:
            reached[stream] = reached.get(stream, versions[stream]) + 1
            envelopes.append(_write_back(move, trigger, stream, reached[stream]))
    return envelopes


def _write_back(move: Move, trigger: Trigger, stream: UUID, version: int) -> Envelope:
    request = move.request
    cause = {"version": request.source.version, "notification_id": str(move.notification)}
    named = trigger.per_code_id and "CodeID" in request.arguments
    code_id = {"id": request.arguments["CodeID"]} if named else {}
    fact = SourceEvent(
        source="tidings",
        id=identity.write_back_id(move.notification, move.progress.cycle),
        type=trigger.sent_type,
        subject=request.source.subject,
        data={"cause": cause, "organisation_id": request.organisation_id} | code_id | _generator(move),
    )
    return Envelope(
        instance=move.instance,
        stream=stream,
        version=version,
        subject=request.source.subject,
        fact=fact,
        fingerprint=bytes(FINGERPRINT_BYTES),
    )


def _generator(move: Move) -> dict[str, dict[str, str]]:
    """Who made a code that was made elsewhere, and under which name it can be checked."""
    sent = next(event for event in move.events if isinstance(event, NotificationSent))
    if move.request.secret or not move.request.generator_id:
        return {}
    return {"generatorInfo": {"id": sent.provider, "verificationId": sent.provider_message_id}}
