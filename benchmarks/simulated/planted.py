"""Bugs planted on purpose, to show that the simulation bites: each replaces a few functions for a while."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any

from msgspec.structs import replace

import notification_domain.notification as aggregate
from benchmarks.simulated import due_statements, model, statements
from benchmarks.simulated.loop import CURRENT
from benchmarks.simulated.patches import patched
from event_log import due_queue, intake, notifications, secret_store
from event_log.envelope import Envelope
from event_log.intake import Appended
from notification_domain import identity, policies
from notification_domain.notification_events import (
    Aftermath,
    AttemptStarted,
    NotificationCancelled,
    NotificationSent,
    Reason,
    TransmissionStarted,
)
from notification_domain.outcomes import Deferred
from projections import handler, quarantine, tracking
from workers import recording, worker
from workers.recorder import Recorder
from workers.recording import Advanced, Refused

Change = tuple[Any, str, Any]
Plant = Callable[[], tuple[Change, ...]]
_PLANTS: dict[str, Plant] = {}


def planted(name: str) -> AbstractContextManager[None]:
    """The bug stands while the context is open."""
    return patched(_PLANTS[name]())


def names() -> list[str]:
    return list(_PLANTS)


def _plant(name: str) -> Callable[[Plant], Plant]:
    def note(plant: Plant) -> Plant:
        _PLANTS[name] = plant
        return plant

    return note


def _statement(name: str, statement: Any) -> Change:  # noqa: ANN401  # a modelled statement
    text = next(text for text, (known, _) in model.BY_TEXT.items() if known == name)
    return model, "BY_TEXT", model.BY_TEXT | {text: (name, statement)}


# --- intents, fence and point of no return --------------------------------------------------------


@_plant("no second intent")
def _no_second_intent() -> tuple[Change, ...]:
    async def transmit(_: Any, subject: Any) -> Any:  # noqa: ANN401
        return subject.held

    return ((worker.Worker, "transmit", transmit),)


@_plant("the second intent is written after sending")
def _late_intent() -> tuple[Change, ...]:
    record = worker.Worker.record

    async def transmit(_: Any, subject: Any) -> Any:  # noqa: ANN401
        return subject.held

    async def late(self: Any, subject: Any, outcome: Any, prepared: Any) -> None:  # noqa: ANN401
        command = recording.StartTransmission(self._clock())
        answer = await self._recorder.apply(recording.Step(subject, command))
        if isinstance(answer, Advanced):
            await record(self, replace(subject, held=answer.held), outcome, prepared)

    return (worker.Worker, "transmit", transmit), (worker.Worker, "record", late)


@_plant("lease without fence")
def _no_fence() -> tuple[Change, ...]:
    return ((due_queue, "held", lambda _, claims: {notification for notification, _ in claims}),)


@_plant("the fence forgets its margin")
def _no_margin() -> tuple[Change, ...]:
    return ((due_queue, "FENCE_MARGIN", due_queue.timedelta(0)),)


@_plant("a refused worker sends all the same")
def _sends_refused() -> tuple[Change, ...]:
    transmit = worker.Worker.transmit

    async def anyway(self: Any, subject: Any) -> Any:  # noqa: ANN401
        return await transmit(self, subject) or subject.held

    return ((worker.Worker, "transmit", anyway),)


@_plant("nothing is looked at again before transmission")
def _no_second_look() -> tuple[Change, ...]:
    return ((recording, "_obstacles", lambda *_: {}),)


@_plant("expiry is not looked at before transmission")
def _no_expiry() -> tuple[Change, ...]:
    def start(progress: Any, command: Any) -> Any:  # noqa: ANN401
        if command.obstacle is not None:
            return (NotificationCancelled(reason=command.obstacle, attempt=progress.attempt),)
        return (TransmissionStarted(progress.attempt),)

    return ((aggregate, "_start_transmission", start),)


@_plant("the user's state is not looked at before transmission")
def _no_user_state() -> tuple[Change, ...]:
    return ((recording, "_user_state", lambda *_: "active"),)


@_plant("the time-out goes on after the point of no return")
def _time_out_goes_on() -> tuple[Change, ...]:
    async def begin(self: Any) -> bool:  # noqa: ANN401
        held = await self._worker.transmit(self._subject)
        if held is not None:
            self._subject = replace(self._subject, held=held)
        return held is not None

    return ((worker._Delivery, "begin", begin),)  # noqa: SLF001


# --- outcomes -------------------------------------------------------------------------------------


@_plant("park means resend")
def _park_means_resend() -> tuple[Change, ...]:
    decide = aggregate.after_unknown

    def never_park(*given: Any) -> Aftermath:  # noqa: ANN401
        found = decide(*given)
        return Aftermath.RESEND if found is Aftermath.PARK else found

    return ((aggregate, "after_unknown", never_park),)


@_plant("a lost transmission is not announced")
def _not_announced() -> tuple[Change, ...]:
    def start(_: Any, progress: Any, command: Any) -> Any:  # noqa: ANN401
        if command.at >= progress.expires_at:
            return (NotificationCancelled(reason=Reason.EXPIRED, attempt=progress.attempt),)
        return (AttemptStarted(progress.attempt + 1, command.lease_token, command.provider),)

    return ((aggregate, "_start_attempt", start),)


@_plant("unknown is taken for certainly not sent")
def _unknown_is_deferred() -> tuple[Change, ...]:
    def doubt(progress: Any, unknown: Any, command: Any, *_: Any) -> Any:  # noqa: ANN401
        state = aggregate.Transmitting(progress)
        policy = command.policy
        as_outcome = aggregate.RecordOutcome(
            at=command.at, outcome=Deferred("dot", unknown.error), policy=policy, jitter=0.0
        )
        return aggregate._retry(state, progress, as_outcome.outcome, as_outcome)  # noqa: SLF001

    return ((aggregate, "_doubt", doubt),)


@_plant("retry for ever")
def _for_ever() -> tuple[Change, ...]:
    retry = aggregate._retry  # noqa: SLF001

    def again(state: Any, progress: Any, deferred: Any, command: Any) -> Any:  # noqa: ANN401
        return retry(
            state, progress, deferred, replace(command, policy=replace(command.policy, max_attempts=10**6))
        )

    return ((aggregate, "_retry", again),)


@_plant("a late outcome writes a second ending")
def _second_ending() -> tuple[Change, ...]:
    decide = recording._decide  # noqa: SLF001

    def insist(step: Any, held: Any, versions: Any, obstacles: Any) -> Any:  # noqa: ANN401
        answer = decide(step, held, versions, obstacles)
        if not isinstance(answer, Refused) or not isinstance(step.command, recording_outcome):
            return answer
        events = aggregate.decide(step.held.state, step.command)
        version = versions[step.held.notification] + len(events)
        return Advanced(
            replace(step.held, state=aggregate.fold(events, step.held.state), version=version), events
        )

    recording_outcome = aggregate.RecordOutcome
    return ((recording, "_decide", insist),)


@_plant("an older mail's write-back silences a newer code")
def _silenced() -> tuple[Change, ...]:
    return ((policies, "_speaks_for", lambda *_: True),)


@_plant("lost claims are not counted")
def _not_counted() -> tuple[Change, ...]:
    def claim(tables: Any, p: Any) -> Any:  # noqa: ANN401
        found = due_statements.claim(tables, p)
        for notification, *_ in found:
            tables.due.put(notification, replace(tables.due[notification], claims=0))
        return found

    return (_statement("event_log/due_queue.sql:claim", claim),)


# --- what follows from an event -------------------------------------------------------------------


@_plant("no write-back")
def _no_write_back() -> tuple[Change, ...]:
    return ((notifications, "_write_backs", lambda *_: []),)


@_plant("the write-back is a transaction of its own")
def _write_back_apart() -> tuple[Change, ...]:
    store, write_backs = notifications.store, notifications._write_backs  # noqa: SLF001

    def apart(append: Any, moves: Any) -> None:  # noqa: ANN401
        store(append, moves)
        sent = [m for m in moves for event in m.events if isinstance(event, NotificationSent)]
        if sent:
            process = CURRENT.get()
            process.after(0.25, later, append.log, sent)

    def later(log: Any, sent: Any) -> None:  # noqa: ANN401
        with log.appending() as append:
            append.write(write_backs(append, sent), wake="progress")

    return (
        (notifications, "_write_backs", lambda *_: []),
        (notifications, "store", apart),
        (recording, "store", apart),
    )


@_plant("a closed notification keeps its due row")
def _row_stays() -> tuple[Change, ...]:
    return ((due_queue, "remove", lambda *_, **__: None),)


@_plant("codes are kept for ever")
def _codes_stay() -> tuple[Change, ...]:
    return ((secret_store, "forget", lambda *_: None),)


@_plant("a parked notification loses its code")
def _code_lost() -> tuple[Change, ...]:
    store = notifications.store

    def forgetful(append: Any, moves: Any) -> None:  # noqa: ANN401
        store(append, moves)
        for move in moves:
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


# --- the handler ----------------------------------------------------------------------------------


@_plant("tracking moves outside the transaction")
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


@_plant("tracking moves at fetch")
def _tracking_at_fetch() -> tuple[Change, ...]:
    advance, read_after = tracking.advance, handler.read_after

    def fetch(log: Any, cursor: Any, since: int, limit: int, **kinds: bool) -> Any:  # noqa: ANN401
        events = read_after(log, cursor, since, limit, **kinds)
        if events:
            advance(cursor, handler.NAME, since, events[-1].position)
        return events

    return (handler, "read_after", fetch), (tracking, "advance", lambda *_: None)


@_plant("naive cursor: appends take no lock")
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
        _statement("event_log/recorder.sql:insert_events", slowly),
    )


@_plant("the notification's id is chance")
def _random_id() -> tuple[Change, ...]:
    def chance(*_: Any) -> Any:  # noqa: ANN401
        process = CURRENT.get(None)
        return identity.UUID(int=process.loop.random.getrandbits(128) if process else 0)

    return ((identity, "notification_id", chance),)


@_plant("poison is passed over without a record")
def _poison_skipped() -> tuple[Change, ...]:
    return ((quarantine, "set_aside", lambda *_: None),)


@_plant("decided again when the handler starts over")
def _decided_again() -> tuple[Change, ...]:
    make = handler._envelope  # noqa: SLF001

    def anew(read: Any, decision: Any) -> Envelope:  # noqa: ANN401
        envelope = make(read, decision)
        mixed = envelope.stream.int ^ read.event.position ^ int(decision.decided_at.timestamp())
        return replace(envelope, stream=identity.UUID(int=mixed))

    return ((handler, "_envelope", anew),)


# --- intake ---------------------------------------------------------------------------------------


@_plant("answered before the commit")
def _answered_early() -> tuple[Change, ...]:
    submit = intake.Intake.submit

    def early(self: Any, instance: str, events: Any) -> Any:  # noqa: ANN401
        submit(self, instance, events)
        answer: Future[Any] = Future()
        answer.set_result(tuple(Appended(event.id, 0, duplicate=False) for event in events))
        return answer

    return ((intake.Intake, "submit", early),)


@_plant("the fingerprint ignores the body")
def _no_fingerprint() -> tuple[Change, ...]:
    return ((intake, "_fingerprint", lambda *_: bytes(32)),)


@_plant("known events are not looked up")
def _not_looked_up() -> tuple[Change, ...]:
    prepare = intake._prepare  # noqa: SLF001

    def anonymous(*given: Any) -> Any:  # noqa: ANN401
        return replace(
            prepare(*given), event_id=identity.UUID(int=CURRENT.get().loop.random.getrandbits(128))
        )

    return ((intake, "_prepare", anonymous),)


# --- leases ---------------------------------------------------------------------------------------


@_plant("claims take running leases")
def _takes_leases() -> tuple[Change, ...]:
    def greedy(tables: Any, p: Any) -> Any:  # noqa: ANN401
        for row in list(tables.due.values()):
            tables.due.put(row.notification_id, replace(row, lease_until=None))
        return due_statements.claim(tables, p)

    return (_statement("event_log/due_queue.sql:claim", greedy),)


@_plant("anyone may renew a lease")
def _renews_any() -> tuple[Change, ...]:
    def renew(tables: Any, p: Any) -> Any:  # noqa: ANN401
        tokens = [row.lease_token if (row := tables.due.get(n)) else 0 for n in p["notifications"]]
        return due_statements.renew(tables, dict(p) | {"tokens": tokens})

    return (_statement("event_log/due_queue.sql:renew", renew),)


@_plant("a doubtful commit is blindly repeated under the new version")
def _repeats_blindly() -> tuple[Change, ...]:
    async def refreshed(self: Any, step: Any) -> Any:  # noqa: ANN401
        return step

    true_refreshed = Recorder._refreshed  # noqa: SLF001

    async def careless(self: Any, step: Any, refused: Any) -> Any:  # noqa: ANN401
        fresh = await true_refreshed(self, step)
        held = replace(fresh.held, state=step.held.state)
        try:
            return await self._submit(replace(fresh, subject=replace(fresh.subject, held=held)))
        except Exception:  # noqa: BLE001
            return refused

    return (Recorder, "_refreshed", refreshed), (Recorder, "_second_look", careless)
