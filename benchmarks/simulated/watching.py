"""Laws that hold at every moment, looked at in the very statement that could break them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from benchmarks.simulated.disturbing import disturb
from benchmarks.simulated.duties import Lease
from benchmarks.simulated.loop import CURRENT
from benchmarks.simulated.rules import RULES, may_reach, user_state
from benchmarks.simulated.statements import Parameters
from benchmarks.simulated.tables import Due, Table
from benchmarks.simulated.watching_loads import LoadWatch
from benchmarks.simulated.world import World
from notification_domain.notification import (
    Cancel,
    RecordOutcome,
    StartAttempt,
    StartTransmission,
    Transmitting,
)
from notification_domain.notification_events import AttemptStarted, Reason
from notification_domain.outcomes import Deferred
from workers.delivery import Delivery
from workers.recording import Advanced, Answer, Refused, Step

MARGIN = timedelta(seconds=2)
"""How long a lease must still run for its holder to write."""
_NEED_A_LEASE = frozenset({"notification.attempt.started", "notification.transmission.started"})
"""What has happened already is told late, too."""
_OUTCOMES = frozenset({"notification.retry.requested", "notification.outcome.unknown"})
_BEGINNINGS = frozenset({"notification.requested", "notification.declined"})


class Watch:
    def __init__(self, world: World, hopeless: set[Lease]) -> None:
        self._world = world
        self._hopeless = hopeless
        """Claims that were known to be pointless, or not fit to be judged, when they were loaded."""
        self._shown: dict[object, set[tuple[UUID, int]]] = {}
        """Leases that a process showed to the fence last; of one notification there may be an old one too."""
        self._given: set[tuple[UUID, int]] = set()
        """Every lease there was."""
        self._tokens: dict[UUID, int] = {}
        """Whose attempt the newest one is, by notification."""
        self._refused: dict[UUID, int] = {}
        """How often its worker had been cut off when a step was refused, by notification."""
        self._claims = Table(world.tables)
        """Claims since something was last recorded that put the row back; undone with it."""
        self._tried = Table(world.tables)
        """Whether this cycle has come to an outcome, by notification."""

    def _broken(self, what: str) -> None:
        self._world.violations.append(f"at {self._world.loop.now}: {what}")

    def claim(self, p: Parameters) -> Callable[[Any], None]:
        before: dict[UUID, Due] = dict(self._world.tables.due)
        now = self._world.tables.now()

        def look_again(rows: list[Any]) -> None:
            for notification, _, token, lost, *_ in rows:
                row = before[notification]
                if row.lease_until is not None and row.lease_until >= now:
                    self._broken(f"a running lease of {notification} was taken")
                if row.due_at > p["now"] and row.expires_at > p["now"]:
                    self._broken(f"{notification} was claimed before it is due")
                if (notification, token) in self._given:
                    self._broken("a lease token was given twice")
                self._given.add((notification, token))
                if lost != self._claims.get(notification, 0):
                    self._broken(
                        f"{notification} lost {self._claims.get(notification, 0)} claims, not {lost}"
                    )
                self._claims.put(notification, lost + 1)
                self._world.lost_claims[notification] = max(
                    lost, self._world.lost_claims.get(notification, 0)
                )
            if len(rows) > 1 and any(before[row[0]].claims >= 2 for row in rows):
                self._broken("what may kill its worker was not claimed alone")

        return look_again

    def claim_in_order(self, p: Parameters) -> Callable[[Any], None]:
        before: dict[UUID, Due] = dict(self._world.tables.due)
        now = self._world.tables.now()
        look_at_claims = self.claim(p)

        def look_again(rows: list[Any]) -> None:
            look_at_claims(rows)
            taken = [before[row[0]] for row in rows if before[row[0]].expires_at > p["now"]]
            if len({row.instance_id for row in taken}) < len(taken):
                self._broken("two of an instance were claimed at once")
            for row in taken:
                # Of its own channel, so that it is served as well.
                ahead = (one for one in before.values() if one.retry in p["retries"] and _ahead(one, row))
                if any(self._place(one) < self._place(row) and not _aside(one, now) for one in ahead):
                    self._broken(f"{row.notification_id} was claimed before its turn")

        return look_again

    def _place(self, row: Due) -> tuple[datetime, int]:
        """When it became due, and its place in the log."""
        return row.due_at, self._world.tables.events[row.notification_id, 1][0]

    def put(self, p: Parameters) -> Callable[[Any], None]:
        def look_again(_: object) -> None:
            for notification, not_before in zip(p["notification"], p["not_before"], strict=True):
                row = self._world.tables.due[notification]
                self._claims.put(notification, 0)
                if self._world.tables.streams[notification][-1][4] == "notification.feedback.received":
                    self._broken(f"{notification} was put back for a report that moved nothing")
                if row.retry != self._tried.get(notification, False):
                    self._broken(f"{notification} is put among the wrong attempts")
                if (row.lease_token, row.lease_until, row.due_at) != (None, None, not_before):
                    self._broken(f"{notification} was put back and is not free at its time")

        return look_again

    def release(self, p: Parameters) -> Callable[[Any], None]:
        before: dict[UUID, Due] = dict(self._world.tables.due)

        def look_again(_: object) -> None:
            for notification, token in zip(p["notifications"], p["tokens"], strict=True):
                row = before.get(notification)
                if row is not None and row.lease_token == token:
                    self._claims.put(notification, max(self._claims.get(notification, 0) - 1, 0))

        return look_again

    def renew(self, p: Parameters) -> Callable[[Any], None]:
        before: dict[UUID, Due] = dict(self._world.tables.due)
        shown = set(zip(p["notifications"], p["tokens"], strict=True))
        now = self._world.tables.now()

        def look_again(_: object) -> None:
            for notification, row in self._world.tables.due.items():
                old = before.get(notification)
                if old is None or old.lease_until == row.lease_until:
                    continue
                if (
                    (notification, old.lease_token) not in shown
                    or old.lease_until is None
                    or old.lease_until <= now
                ):
                    self._broken(f"a lease of {notification} was extended that was not one's own")

        return look_again

    def held(self, p: Parameters) -> Callable[[Any], None]:
        self._shown[CURRENT.get(None)] = set(zip(p["notifications"], p["tokens"], strict=True))
        return lambda _: None

    def advance(self, steps: Sequence[Step]) -> Callable[[Any], None]:
        """What has happened is told late, too, as long as nobody else came.

        Nothing begins whose time is over.
        """
        before = [self._told_of_user(step) for step in steps]

        def look_again(answers: Sequence[Answer]) -> None:
            for step, answer, told in zip(steps, answers, before, strict=True):
                if isinstance(answer, Refused):
                    self._refusal(step, answer, told)
                elif not answer.events and not isinstance(step.command, StartTransmission | RecordOutcome):
                    self._broken(f"a claim of {step.held.notification} came to nothing: {step.command}")
                elif isinstance(step.command, StartAttempt):
                    self._beginning(step, step.command, answer)

        return look_again

    def _beginning(self, step: Step, command: StartAttempt, answer: Advanced) -> None:
        held = step.held
        lost = self._claims.get(held.notification, 0) - 1
        if lost >= self._world.options.max_claims:
            self._broken(f"{held.notification} was not parked for {lost} lost claims")
        if any(isinstance(event, AttemptStarted) for event in answer.events):
            self._world.duties.attempt(held.lease)
            disturb(self._world, step.subject)
            if command.at >= held.progress.expires_at:
                self._broken(f"an attempt of {held.notification} began though its time was over")
            if held.lease in self._hopeless:
                self._broken(f"an attempt of {held.notification} began in spite of what was known")

    def _told_of_user(self, step: Step) -> list[str]:
        return [row[4] for row in self._world.tables.streams.get(step.subject.user_stream, ())]  # type: ignore[arg-type]

    def _refusal(self, step: Step, answer: Refused, told: list[str]) -> None:
        held, row = step.held, self._world.tables.due.get(step.held.notification)
        self._refused[held.notification] = self._world.cuts[CURRENT.get()]
        if row is None or row.lease_token != held.token:
            return
        newest = self._world.tables.streams[held.notification][-1]
        if newest[3] > held.version:
            if newest[4] != "notification.feedback.received" and self._should_know(step):
                self._broken(f"a worker did not know what it had written itself on {held.notification}")
            return
        if isinstance(step.command, RecordOutcome):
            self._broken(f"an outcome of {held.notification} was refused: {answer.why}")
        if answer.why == "what stood against it is over" and self._still_stands(step, told):
            self._broken(f"{held.notification} was not cancelled though what was in its way still is")

    def _still_stands(self, step: Step, told: list[str]) -> bool:
        """Only a user, as known before and still, may cease to be in the way."""
        if isinstance(step.command, Cancel) and step.command.reason is not Reason.USER_INACTIVE:
            return True
        unreachable = not may_reach(RULES[step.held.request.rule], user_state(told))
        return unreachable and told == self._told_of_user(step)

    def _should_know(self, step: Step) -> bool:
        """Whether it was told what it has written: not where no answer came, or its time-out came first."""
        told = self._world.duties.is_told(step.held.lease) or not isinstance(step.command, RecordOutcome)
        return told and not self._refused[step.held.notification]

    def apply(self, step: Step, answer: Answer) -> None:
        """Who was refused for what it had written itself is told so, as long as the log can be asked."""
        held = step.held
        self._duty(step, answer)
        row = self._world.tables.due.get(held.notification)
        if not isinstance(answer, Refused) or row is None or row.lease_token != held.token:
            return
        runs = row.lease_until is not None and row.lease_until > self._world.tables.now() + MARGIN
        newest = self._world.tables.streams[held.notification][-1]
        # A report is another's, and may come between a second look and what follows from it.
        went_on = newest[3] > held.version and newest[4] != "notification.feedback.received"
        could_ask = self._refused[held.notification] == self._world.cuts[CURRENT.get()]
        if runs and went_on and could_ask:
            self._broken(f"{held.notification} was refused to its own worker: {answer.why}")

    def record(self, step: Step) -> None:
        """From here on it is the recorder's to tell what came of an attempt, for as long as it takes."""
        self._world.duties.settle(step.held.lease)

    def send(self, delivery: Delivery) -> None:
        """It waits for its turn on the channel."""
        self._world.duties.settle(delivery.lease)

    def _duty(self, step: Step, answer: Answer) -> None:
        duties, lease = self._world.duties, step.held.lease
        if isinstance(step.command, RecordOutcome):
            if _is_dispatch_timeout(step.command) and duties.is_told(lease):
                self._broken(f"{lease[0]} was called off by a time-out that was over")
        elif isinstance(answer, Advanced) and isinstance(answer.held.state, Transmitting):
            duties.intend(lease)

    def insert(self, p: Parameters) -> Callable[[Any], None]:
        for key in zip(p["streams"], p["versions"], strict=True):
            if key in self._world.tables.events:
                self._broken(f"version {key[1]} of {key[0]} was taken in spite of the append lock")
        for stream, topic in zip(p["streams"], p["topics"], strict=True):
            if topic in _OUTCOMES or topic == "notification.resend.requested":
                self._tried.put(stream, topic in _OUTCOMES)
        name = CURRENT.get(self._world.loop.world).name
        if name.startswith("worker"):
            written = list(zip(p["streams"], p["topics"], p["states"], strict=True))
            # What a reply that came too late proves needs no lease.
            heard = {stream for stream, topic, _ in written if topic == "notification.feedback.received"}
            for stream, topic, state in written:
                if topic.startswith("notification.") and stream not in heard:
                    self._fence(stream, topic, state)
        return lambda _: None

    def _fence(self, stream: UUID, topic: str, state: bytes) -> None:
        row = self._world.tables.due.get(stream)
        token = row.lease_token if row is not None else None
        if topic in _BEGINNINGS:
            self._broken(f"a worker wrote {topic}")
        elif row is None or (stream, token) not in self._shown.get(CURRENT.get(None), ()):
            self._broken(f"{topic} of {stream} was written without its lease")
        elif topic in _NEED_A_LEASE and (
            row.lease_until is None or row.lease_until <= self._world.tables.now() + MARGIN
        ):
            self._broken(f"{topic} of {stream} was written under a lease that has run out")
        if topic == "notification.attempt.started":
            self._tokens[stream] = _token_in(state)
            if self._tokens[stream] != token:
                self._broken(f"an attempt of {stream} names another lease")
        if topic == "notification.transmission.started":
            self._transmission(stream, row, token)

    def _transmission(self, stream: UUID, row: Due | None, token: int | None) -> None:
        if self._tokens.get(stream) != token:
            self._broken(f"a transmission of {stream} belongs to another's attempt")
        frozen = {aside[0] for aside in self._world.tables.quarantine.values()}
        if row is not None and row.cause_stream in frozen:
            self._broken(f"{stream} was transmitted though its source stream is frozen")


def _is_dispatch_timeout(command: RecordOutcome) -> bool:
    return isinstance(command.outcome, Deferred) and command.outcome.stage == "dispatch"


def _ahead(one: Due, row: Due) -> bool:
    """May stand before the other."""
    return one.instance_id == row.instance_id and one.channel == row.channel and one is not row


def _aside(row: Due, now: datetime) -> bool:
    """What its worker was lost with does not hold up the others while it is tried again."""
    return row.claims > 1 and row.lease_until is not None and row.lease_until >= now


def _token_in(state: bytes) -> int:
    return int(msgspec.json.decode(state[2:])["lease_token"])


def watchers(world: World) -> dict[str, Callable[..., Any]]:
    loads = LoadWatch(world)
    watch = Watch(world, loads.hopeless)
    return {
        "event_log/due_queue.sql:claim": watch.claim,
        "event_log/due_queue.sql:claim_in_order": watch.claim_in_order,
        "event_log/due_queue.sql:renew": watch.renew,
        "event_log/due_queue.sql:release": watch.release,
        "event_log/due_queue.sql:put": watch.put,
        "event_log/due_queue.sql:held": watch.held,
        "event_log/recorder.sql:insert_events": watch.insert,
        "workers/recording:advance": watch.advance,
        "workers/recorder:apply": watch.apply,
        "workers/recorder:record": watch.record,
        "workers/worker:send": watch.send,
        "workers/loading:load": loads.load,
        "projections/recipients.sql:select": loads.read,
        "projections/quarantine.sql:since": loads.look_for_later,
    }
