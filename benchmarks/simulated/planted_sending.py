"""Planted bugs around leases, intents and outcomes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from msgspec.structs import replace

import notification_domain.notification as aggregate
from benchmarks.simulated import due_statements
from benchmarks.simulated.planting import Change, plant, statement
from event_log import due_queue, notifications
from notification_domain import policies
from notification_domain.notification_events import (
    Aftermath,
    AttemptStarted,
    NotificationCancelled,
    Reason,
    TransmissionStarted,
)
from notification_domain.outcomes import Deferred
from workers import delivery, recording, worker
from workers.recorder import Recorder
from workers.recording import Advanced, Refused


@plant("no second intent")
def _no_second_intent() -> tuple[Change, ...]:
    async def transmit(_: Any, subject: Any) -> Any:  # noqa: ANN401
        return subject.held

    return ((worker.Worker, "transmit", transmit),)


@plant("the second intent is written after sending")
def _late_intent() -> tuple[Change, ...]:
    record = worker.Worker.record

    async def transmit(_: Any, subject: Any) -> Any:  # noqa: ANN401
        return subject.held

    async def late(self: Any, subject: Any, outcome: Any, prepared: Any) -> None:  # noqa: ANN401
        command = aggregate.StartTransmission(self._clock())
        answer = await self._recorder.apply(recording.Step(subject, command))
        if isinstance(answer, Advanced):
            await record(self, replace(subject, held=answer.held), outcome, prepared)

    return (worker.Worker, "transmit", transmit), (worker.Worker, "record", late)


def _whoever(tables: Any, p: Any) -> Any:  # noqa: ANN401
    """As held, for all that are asked for and as if their leases ran."""
    far, last = due_queue.NEVER, tables.last_position
    return [
        (n, token, True, tables.streams[n][-1][3], tables.streams[row.cause_stream][-1][3], far, last)
        for n, token in zip(p["notifications"], p["tokens"], strict=True)
        if (row := tables.due.get(n))
    ]


@plant("lease without fence")
def _no_fence() -> tuple[Change, ...]:
    return (statement("event_log/due_queue.sql:held", _whoever),)


@plant("the fence forgets its margin")
def _no_margin() -> tuple[Change, ...]:
    return ((due_queue, "FENCE_MARGIN", timedelta(0)),)


@plant("a refused worker sends all the same")
def _sends_refused() -> tuple[Change, ...]:
    transmit = worker.Worker.transmit

    async def anyway(self: Any, subject: Any) -> Any:  # noqa: ANN401
        return await transmit(self, subject) or subject.held

    return ((worker.Worker, "transmit", anyway),)


@plant("nothing is looked at again before transmission")
def _no_second_look() -> tuple[Change, ...]:
    return ((recording, "_obstacles", lambda *given: ([None] * len(given[-1]), set())),)


@plant("what was worked out before the append lock is stored as it is")
def _no_look_under_the_lock() -> tuple[Change, ...]:
    return ((recording, "_stands", lambda *_: True),)


@plant("expiry is not looked at before transmission")
def _no_expiry() -> tuple[Change, ...]:
    def start(progress: Any, command: Any) -> Any:  # noqa: ANN401
        if command.obstacle is not None:
            return (NotificationCancelled(reason=command.obstacle, attempt=progress.attempt),)
        return (TransmissionStarted(progress.attempt),)

    return ((aggregate, "_start_transmission", start),)


@plant("the user's state is not looked at before transmission")
def _no_user_state() -> tuple[Change, ...]:
    return ((recording, "_user_state", lambda *_: "active"),)


@plant("the time-out goes on after the point of no return")
def _time_out_goes_on() -> tuple[Change, ...]:
    async def begin(self: Any) -> bool:  # noqa: ANN401
        held = await self._steps.transmit(self._subject)
        if held is not None:
            self._subject = replace(self._subject, held=held)
        return held is not None

    return ((delivery.Delivery, "begin", begin),)


@plant("park means resend")
def _park_means_resend() -> tuple[Change, ...]:
    decide = aggregate.after_unknown

    def never_park(*given: Any) -> Aftermath:  # noqa: ANN401
        found = decide(*given)
        return Aftermath.RESEND if found is Aftermath.PARK else found

    return ((aggregate, "after_unknown", never_park),)


@plant("a lost transmission is not announced")
def _not_announced() -> tuple[Change, ...]:
    def start(_: Any, progress: Any, command: Any) -> Any:  # noqa: ANN401
        if command.at >= progress.expires_at:
            return (NotificationCancelled(reason=Reason.EXPIRED, attempt=progress.attempt),)
        return (AttemptStarted(progress.attempt + 1, command.lease_token, command.provider),)

    return ((aggregate, "_start_attempt", start),)


@plant("unknown is taken for certainly not sent")
def _unknown_is_deferred() -> tuple[Change, ...]:
    def doubt(progress: Any, unknown: Any, command: Any, *_: Any) -> Any:  # noqa: ANN401
        state = aggregate.Transmitting(progress)
        policy = command.policy
        deferred = Deferred("dot", unknown.error)
        as_outcome = aggregate.RecordOutcome(at=command.at, outcome=deferred, policy=policy, jitter=0.0)
        return aggregate._retry(state, progress, deferred, as_outcome)  # noqa: SLF001

    return ((aggregate, "_doubt", doubt),)


@plant("retry for ever")
def _for_ever() -> tuple[Change, ...]:
    retry = aggregate._retry  # noqa: SLF001

    def again(state: Any, progress: Any, deferred: Any, command: Any) -> Any:  # noqa: ANN401
        return retry(
            state, progress, deferred, replace(command, policy=replace(command.policy, max_attempts=10**6))
        )

    return ((aggregate, "_retry", again),)


@plant("a late outcome writes a second ending")
def _second_ending() -> tuple[Change, ...]:
    store, decide, cause_of = notifications.store, recording._decide, notifications.cause_of  # noqa: SLF001
    late: list[Any] = []

    def insist(step: Any, *given: Any) -> Any:  # noqa: ANN401
        answer = decide(step, *given)
        if not isinstance(answer, Refused) or not isinstance(step.command, aggregate.RecordOutcome):
            return answer
        late.append(step)
        return answer

    def store_twice(append: Any, change: Any) -> None:  # noqa: ANN401
        store(append, change)
        for step in late:
            held, events = step.held, aggregate.decide(step.held.state, step.command)
            cause = cause_of(held.instance, held.request)[0]
            found = append.versions([held.notification, cause])
            state = aggregate.go_on(held.state, events)
            before = found[held.notification]
            move = notifications.Move(held.notification, held.instance, events, before, state)
            store(append, notifications.change([move], found))
        late.clear()

    return (recording, "_decide", insist), (recording, "store", store_twice)


@plant("an older mail's write-back silences a newer code")
def _silenced() -> tuple[Change, ...]:
    return ((policies, "_speaks_for", lambda *_: True),)


@plant("lost claims are not counted")
def _not_counted() -> tuple[Change, ...]:
    def claim(tables: Any, p: Any) -> Any:  # noqa: ANN401
        found = cast("list[Any]", due_statements.claim(tables, p))
        for notification, *_ in found:
            tables.due.put(notification, replace(tables.due[notification], claims=0))
        return found

    return (statement("event_log/due_queue.sql:claim", claim),)


@plant("claims take running leases")
def _takes_leases() -> tuple[Change, ...]:
    def greedy(tables: Any, p: Any) -> Any:  # noqa: ANN401
        for row in list(tables.due.values()):
            tables.due.put(row.notification_id, replace(row, lease_until=None))
        return due_statements.claim(tables, p)

    return (statement("event_log/due_queue.sql:claim", greedy),)


@plant("legacy mode keeps to no order")
def _no_order() -> tuple[Change, ...]:
    return (statement("event_log/due_queue.sql:claim_in_order", due_statements.claim),)


@plant("legacy mode goes past what is under way")
def _goes_past() -> tuple[Change, ...]:
    def past(tables: Any, p: Any) -> Any:  # noqa: ANN401
        due, now = tables.due, tables.now()
        leased = {n: row for n, row in due.items() if row.lease_until is not None and row.lease_until >= now}
        for notification in leased:
            del due[notification]
        try:
            return due_statements.claim_in_order(tables, p)
        finally:
            due.update(leased)

    return (statement("event_log/due_queue.sql:claim_in_order", past),)


@plant("anyone may renew a lease")
def _renews_any() -> tuple[Change, ...]:
    def renew(tables: Any, p: Any) -> Any:  # noqa: ANN401
        tokens = [row.lease_token if (row := tables.due.get(n)) else 0 for n in p["notifications"]]
        return due_statements.renew(tables, dict(p) | {"tokens": tokens})

    return (statement("event_log/due_queue.sql:renew", renew),)


@plant("a doubtful commit is blindly repeated under the new version")
def _repeats_blindly() -> tuple[Change, ...]:
    async def refreshed(_: Any, step: Any) -> Any:  # noqa: ANN401
        return step

    true_refreshed = Recorder._refreshed  # noqa: SLF001

    async def careless(self: Any, step: Any, refused: Any) -> Any:  # noqa: ANN401
        fresh = await true_refreshed(self, step)
        held = replace(fresh.held, state=step.held.state)
        try:
            return await self._group.commit(replace(fresh, subject=replace(fresh.subject, held=held)))
        except Exception:  # noqa: BLE001
            return refused

    return (Recorder, "_refreshed", refreshed), (Recorder, "_second_look", careless)
