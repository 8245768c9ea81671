"""Planted bugs in what is stored: by intake, handler and whoever moves a notification."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any
from uuid import UUID

from msgspec.structs import replace

import notification_domain.notification as aggregate
from benchmarks.simulated import due_statements, model, statements
from benchmarks.simulated.loop import CURRENT
from benchmarks.simulated.planting import Change, plant, statement
from event_log import intake, notifications, secret_store
from event_log.envelope import Envelope
from event_log.intake import Appended
from event_log.log import read_after as read_events
from notification_domain import identity
from notification_domain.notification_events import (
    NotificationSent,
)
from projections import handler, quarantine, redrive, tracking
from workers import recording


@plant("no write-back")
def _no_write_back() -> tuple[Change, ...]:
    return ((notifications, "_write_backs", lambda *_: []),)


@plant("the write-back is a transaction of its own")
def _write_back_apart() -> tuple[Change, ...]:
    store, write_backs = notifications.store, notifications._write_backs  # noqa: SLF001

    def apart(append: Any, change: Any) -> None:  # noqa: ANN401
        store(append, change)
        sent = [m for m in change.moves for event in m.events if isinstance(event, NotificationSent)]
        if sent:
            process = CURRENT.get()
            process.after(0.25, later, append.log, sent)

    def later(of: Any, sent: Any) -> None:  # noqa: ANN401
        with of.appending() as append:
            causes = [notifications.cause_of(m.instance, m.request)[0] for m in sent]
            append.write(write_backs(sent, append.versions(causes)), wake="progress")

    return (
        (notifications, "_write_backs", lambda *_: []),
        (notifications, "store", apart),
        (recording, "store", apart),
    )


@plant("a closed notification keeps its due row")
def _row_stays() -> tuple[Change, ...]:
    def forgets(tables: Any, p: Any) -> Any:  # noqa: ANN401
        kept = dict(tables.due)
        changed = statements.close(tables, p)
        for notification in p["notifications"]:
            if notification in kept:
                tables.due.put(notification, kept[notification])
        return changed

    return (statement("event_log/notifications.sql:close", forgets),)


@plant("codes are kept for ever")
def _codes_stay() -> tuple[Change, ...]:
    return (
        (secret_store, "forget", lambda *_: None),
        statement("event_log/notifications.sql:close", due_statements.remove),
    )


@plant("a parked notification loses its code")
def _code_lost() -> tuple[Change, ...]:
    store = notifications.store

    def forgetful(append: Any, change: Any) -> None:  # noqa: ANN401
        store(append, change)
        for move in change.moves:
            if isinstance(move.state, aggregate.Parked):
                cause = notifications.cause_of(move.instance, move.request)
                gone = [
                    s
                    for s in append.log.database.tables.secrets.values()
                    if (s.stream_id, s.stream_version) == cause
                ]
                for secret in gone:
                    append.log.database.tables.secrets.drop(secret.secret_id)

    return (recording, "store", forgetful), (notifications, "store", forgetful)


@plant("tracking moves outside the transaction")
def _tracking_apart() -> tuple[Change, ...]:
    advance = tracking.advance

    def apart(cursor: Any, projection: str, since: int, to: int) -> None:  # noqa: ANN401
        connection = cursor.connection
        kept, connection.database.tables.journal = connection.database.tables.journal, None
        try:
            advance(cursor, projection, since, to)
        finally:
            connection.database.tables.journal = kept

    return ((tracking, "advance", apart),)


@plant("tracking moves at fetch")
def _tracking_at_fetch() -> tuple[Change, ...]:
    advance, read_after = tracking.advance, read_events

    def fetch(of: Any, cursor: Any, since: int, limit: int, **kinds: bool) -> Any:  # noqa: ANN401
        page = read_after(of, cursor, since, limit, **kinds)
        if page.passed:
            advance(cursor, handler.NAME, since, page.reached)
        return page

    return (handler, "read_after", fetch), (tracking, "advance", lambda *_: None)


@plant("naive cursor: appends take no lock")
def _naive_cursor() -> tuple[Change, ...]:
    def slowly(tables: Any, p: Any) -> Any:  # noqa: ANN401
        process = CURRENT.get()
        start = tables.last_position
        tables.last_position += len(p["streams"])
        kept = tables.journal, tables.wakes
        tables.journal, tables.wakes = None, []
        try:
            process.loop.meanwhile(process.loop.now + 0.5, 12)
        finally:
            tables.journal, tables.wakes = kept
        highest, tables.last_position = tables.last_position, start
        try:
            return statements.insert_events(tables, p)
        finally:
            tables.last_position = max(highest, tables.last_position)

    return (
        (model.ModelRecorder, "lock", lambda *_: None),
        statement("event_log/recorder.sql:insert_events", slowly),
    )


@plant("the notification's id is chance")
def _random_id() -> tuple[Change, ...]:
    def chance(*_: Any) -> Any:  # noqa: ANN401
        process = CURRENT.get(None)
        return UUID(int=process.loop.random.getrandbits(128) if process else 0)

    return ((identity, "notification_id", chance),)


@plant("poison is passed over without a record")
def _poison_skipped() -> tuple[Change, ...]:
    return ((quarantine, "set_aside", lambda *_: None),)


@plant("what waits behind poison is sent")
def _not_held_back() -> tuple[Change, ...]:
    return ((recording, "_doubt", lambda *_: None),)


@plant("a redrive takes out what it has not handled")
def _redriven_unread() -> tuple[Change, ...]:
    def undecided(*given: Any) -> Any:  # noqa: ANN401  # as consider
        outcome = handler.consider(*given)
        outcome.decisions.clear()
        return outcome

    return ((redrive, "consider", undecided),)


@plant("decided again when the handler starts over")
def _decided_again() -> tuple[Change, ...]:
    make = handler._envelope  # noqa: SLF001

    def anew(read: Any, decision: Any) -> Envelope:  # noqa: ANN401
        envelope = make(read, decision)
        mixed = envelope.stream.int ^ read.event.position ^ int(decision.decided_at.timestamp())
        return replace(envelope, stream=UUID(int=mixed))

    return ((handler, "_envelope", anew),)


@plant("answered before the commit")
def _answered_early() -> tuple[Change, ...]:
    submit = intake.Intake.submit

    def early(self: Any, instance: str, events: Any) -> Any:  # noqa: ANN401
        submit(self, instance, events)
        answer: Future[Any] = Future()
        answer.set_result(tuple(Appended(event.id, 0, duplicate=False) for event in events))
        return answer

    return ((intake.Intake, "submit", early),)


@plant("the fingerprint ignores the body")
def _no_fingerprint() -> tuple[Change, ...]:
    return ((intake, "_fingerprint", lambda *_: bytes(32)),)


@plant("known events are not looked up")
def _not_looked_up() -> tuple[Change, ...]:
    prepare = intake._prepare  # noqa: SLF001

    def anonymous(*given: Any) -> Any:  # noqa: ANN401
        return replace(prepare(*given), event_id=UUID(int=CURRENT.get().loop.random.getrandbits(128)))

    return ((intake, "_prepare", anonymous),)
