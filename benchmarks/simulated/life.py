"""The life of each notification, event by event, against the promises."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

from benchmarks.simulated.providers import Copy
from benchmarks.simulated.record import Record
from benchmarks.simulated.rules import RULES, aftermath, may_reach, speaks_for, user_state
from event_log.envelope import RecordedEvent, SourceEvent
from notification_domain.notification_events import (
    AttemptStarted,
    FeedbackReceived,
    NotificationCancelled,
    NotificationRequested,
    NotificationSent,
    OutcomeUnknown,
    Reason,
    ResendRequested,
    RetryRequested,
    Standing,
    TransmissionStarted,
)


def lives(record: Record) -> Iterator[str]:
    for stream, events in record.notifications.items():
        request = events[0].fact
        if [event.version for event in events] != list(range(1, len(events) + 1)):
            yield f"{stream} has holes"
        if isinstance(request, NotificationRequested):
            life = Life(record, request, str(stream))
            for event in events[1:]:
                life.meet(event)
            life.end(record.copies.get(stream, []))
            yield from (f"{stream} {request.rule}: {fault}" for fault in life.faults)
        elif len(events) > 1 or stream in record.copies:
            yield f"{stream} was declined and went on"
    for stray in record.copies.keys() - record.notifications.keys():
        yield f"sent without a decision: {stray}"


class Life:
    def __init__(self, record: Record, request: NotificationRequested, stream: str) -> None:
        self.record = record
        self.request: Any = request
        self.stream = stream
        self.rule = RULES[request.rule]
        self.faults: list[str] = []
        self.closed = False
        self.parked = False
        self.must_expire = False
        self.doubted_at = request.decided_at
        self.cycle = 1
        self.expires_at = request.expires_at
        self.attempt = 0
        self.started = False
        """An attempt is under way that has not reached the point of no return."""
        self.transmitting = False
        self.spent = self.doubts = 0
        self.in_doubt = 0
        """The newest attempt of which nobody knows what came."""
        self.backoff = 0.0
        """The last pause of the cycle, in seconds."""
        self.transmissions: dict[int, tuple[RecordedEvent, int]] = {}
        """By attempt: the event and the cycle."""
        self.earlier = 0
        """The last attempt of the cycles before."""
        self.heard: dict[int, Standing] = {}
        """By attempt: what a reply that came too late has proven."""
        self.announced: list[int] = []
        """Positions of what allows another transmission."""
        self.sent: list[int] = []
        self.slack = timedelta(seconds=record.world.options.skew)

    def meet(self, event: RecordedEvent) -> None:
        fact: Any = event.fact
        if self.closed and not isinstance(fact, ResendRequested | FeedbackReceived):
            self.faults.append(f"{event.topic} after its ending")
        if self.parked and not self._ends_a_doubt(fact):
            self.faults.append(f"{event.topic} though it waits for a person")
        if self.must_expire and not (isinstance(fact, NotificationCancelled) or self._ends_a_doubt(fact)):
            self.faults.append(f"{event.topic} though it had to expire")
        _MEETINGS[type(fact)](self, event, fact)

    def _ends_a_doubt(self, fact: Any) -> bool:  # noqa: ANN401  # any event
        by_a_person = isinstance(fact, ResendRequested) or bool(getattr(fact, "by", None))
        return by_a_person or isinstance(fact, FeedbackReceived) or getattr(fact, "attempt", 0) in self.heard

    def heard_of(self, _: RecordedEvent, fact: FeedbackReceived) -> None:
        if fact.attempt not in self.transmissions and fact.standing is Standing.ACCEPTED:
            self.faults.append(f"attempt {fact.attempt} was taken and never transmitted")
        self.heard[fact.attempt] = fact.standing

    def attempted(self, _: RecordedEvent, fact: AttemptStarted) -> None:
        if fact.attempt != self.attempt + 1:
            self.faults.append(f"attempt {fact.attempt} follows attempt {self.attempt}")
        if self.transmitting:
            self.faults.append("an attempt began while the last one's outcome was unknown")
        self.attempt, self.started, self.transmitting = fact.attempt, True, False

    def transmitted(self, event: RecordedEvent, fact: TransmissionStarted) -> None:
        if not self.started or fact.attempt != self.attempt or fact.attempt in self.transmissions:
            self.faults.append(f"transmission {fact.attempt} is not one of attempt {self.attempt}")
        self.started, self.transmitting = False, True
        self.spent += 1
        self._within_attempts()
        self.transmissions[fact.attempt] = (event, self.cycle)
        if event.recorded_at >= self.expires_at + self.slack:
            self.faults.append(f"transmitted at {event.recorded_at}, expired {self.expires_at}")
        reason = self._against(event)
        if reason:
            self.faults.append(f"transmitted at {event.position} in spite of {reason}")

    def retried(self, event: RecordedEvent, fact: RetryRequested) -> None:
        if self.transmitting:
            self.spent -= not fact.counts
        else:
            self.spent += fact.counts
        if self.spent >= self.record.world.policy.max_attempts and fact.counts:
            self.faults.append("another attempt was promised though none is left")
        self._paused(fact.backoff)
        if fact.stage == "quarantine" and not self.record.doubtful(
            event.instance, self.request, event.position
        ):
            self.faults.append(f"held back at {event.position} though nothing is set aside")
        if fact.not_before > max(self.expires_at, event.recorded_at + self.slack):
            self.faults.append("a retry waits for longer than it may be tried")
        self.started = self.transmitting = False

    def _paused(self, seconds: float) -> None:
        """Each pause grows from the one before it, by chance and within bounds."""
        policy, share = self.record.world.policy, self.record.world.options.least_jitter
        least, longest = max(self.backoff, policy.min_delay), policy.max_delay
        shortest = min(least * (1 + share * (policy.factor - 1)), longest)
        if not shortest - 1e-5 <= seconds <= min(least * policy.factor, longest):  # rounded in the log
            self.faults.append(f"a pause of {seconds} s after one of {self.backoff} s")
        self.backoff = seconds

    def doubted(self, event: RecordedEvent, fact: OutcomeUnknown) -> None:
        if fact.stage == "claim":
            lost = self.record.world.lost_claims.get(event.stream, 0)
            if lost < self.record.world.options.max_claims:
                self.faults.append(f"parked for {lost} lost claims")
            self.parked = True
        else:
            self._judge_doubt(event, fact)
        if self._is_told(fact.attempt):
            self.faults.append(f"attempt {fact.attempt} is in doubt though its end was reported")
        self.in_doubt = fact.attempt
        self.doubts += 1
        self.announced.append(event.position)
        self.started = self.transmitting = False

    def _judge_doubt(self, event: RecordedEvent, fact: OutcomeUnknown) -> None:
        if not self.transmitting:
            self.faults.append("an outcome is unknown though nothing was transmitted")
        exhausted = self.spent >= self.record.world.policy.max_attempts
        expected = aftermath(
            self.request, fact.not_before, self.expires_at, doubts=self.doubts, exhausted=exhausted
        )
        if fact.aftermath != expected:
            self.faults.append(f"unknown led to {fact.aftermath}, not {expected}")
        self.doubted_at = event.recorded_at
        self.parked = fact.aftermath == "park"
        self.must_expire = fact.aftermath == "expire"

    def _is_told(self, attempt: int) -> bool:
        """By the provider, while it was in transmission."""
        arrived = {one for one, what in self.heard.items() if what is Standing.ACCEPTED}
        failed = self.heard.get(attempt) is Standing.FAILED
        return self.transmitting and (failed or any(one > self.earlier for one in arrived))

    def was_sent(self, _: RecordedEvent, fact: NotificationSent) -> None:
        if not fact.by:
            proven = self.heard.get(fact.attempt) is Standing.ACCEPTED
            if not proven and (not self.transmitting or fact.attempt != self.attempt):
                self.faults.append("sent without a transmission")
            self.sent.append(fact.attempt)
        self._close()

    def cancelled(self, event: RecordedEvent, fact: NotificationCancelled) -> None:
        if self.transmitting and fact.reason is Reason.OPERATOR:
            self.faults.append("cancelled by an operator after it was handed over")
        if not self._justified(event, fact):
            self.faults.append(f"cancelled without cause at {event.position}: {fact.reason} {fact.error}")
        if self.must_expire and event.recorded_at != self.doubted_at:
            self.faults.append("it had to expire and did so later")
        if fact.attempt != self.attempt:
            self.faults.append(f"cancelled as attempt {fact.attempt}, which was {self.attempt}")
        self.must_expire = False
        self._close()

    def renewed(self, event: RecordedEvent, fact: ResendRequested) -> None:
        if not (self.closed or self.parked):
            self.faults.append("a new cycle began within the old one")
        self.closed = self.parked = self.started = self.transmitting = False
        self.cycle += 1
        self.earlier = self.attempt
        self.spent = self.doubts = 0
        self.backoff = 0.0
        self.expires_at = fact.expires_at
        self.announced.append(event.position)

    def _close(self) -> None:
        self.closed, self.parked, self.started, self.transmitting = True, False, False, False

    def _within_attempts(self) -> None:
        most = self.record.world.policy.max_attempts
        if self.spent > most:
            self.faults.append(f"attempt {self.spent} of {most}")

    # --- why not --------------------------------------------------------------------------------------

    def _against(self, event: RecordedEvent) -> str:
        """What had been recorded by then that makes the message pointless."""
        rule, instance = self.rule, event.instance
        for later in self.record.later(instance, self.request, event.position):
            if rule.by_code_id and not self._same_code(later):
                continue
            if later.topic in rule.used | rule.superseded or self._is_told_of(later):
                return later.topic
        if self.record.is_removed_around(instance, self.request, event.position):
            return "its organisation or instance being removed"
        user = self.record.user_of(instance, self.request, event.position)
        state = user_state(self.record.user_types(instance, user, event.position))
        return "" if may_reach(rule, state) else f"the user being {state}"

    def _is_told_of(self, later: RecordedEvent) -> bool:
        return speaks_for(self.rule, later, self.request.source.version, self.stream)

    def _same_code(self, later: RecordedEvent) -> bool:
        assert isinstance(later.fact, SourceEvent)
        return str(later.fact.data.get("id", "")) == str(self.request.arguments.get("CodeID", ""))

    def _justified(self, event: RecordedEvent, fact: NotificationCancelled) -> bool:  # noqa: PLR0911  # a reason each
        match fact.reason:
            case Reason.EXPIRED:
                return self.must_expire or event.recorded_at >= self._earliest_end() - self.slack * 2
            case Reason.SUPERSEDED | Reason.CODE_USED | Reason.USER_INACTIVE:
                return bool(self._against(event))
            case Reason.NO_RECIPIENT:
                return self.request.verified_only or event.recorded_at >= self.expires_at - self.slack
            case Reason.ATTEMPTS_EXHAUSTED:
                counted = self.spent + (0 if self.transmitting else 1)
                return counted >= self.record.world.policy.max_attempts
            case Reason.REJECTED:
                open_yet = self.transmitting or self.in_doubt == fact.attempt
                failed = open_yet and self.heard.get(fact.attempt) is Standing.FAILED
                return fact.stage in {"rcpt", "dot"} or (fact.stage == "callback" and failed)
            case Reason.OPERATOR:
                return fact.by == "key"
            case _:
                return False

    def _earliest_end(self) -> Any:  # noqa: ANN401  # a moment
        return min(self.expires_at, self.request.code_expires_at or self.expires_at)

    # --- the ledger -----------------------------------------------------------------------------------

    def end(self, copies: list[Copy]) -> None:
        for copy in copies:
            self._taken(copy)
        taken = sorted({copy.attempt for copy in copies})
        if self.must_expire:
            self.faults.append("it had to expire and did not")
        if len(taken) != len(copies):
            self.faults.append("one transmission was taken twice")
        for first, second in pairwise(taken):
            self._announced_between(first, second)
        for attempt in set(self.sent) - set(taken):
            self.faults.append(f"sent by attempt {attempt}, and no provider has taken it")

    def _taken(self, copy: Copy) -> None:
        begun = self.transmissions.get(copy.attempt)
        if begun is None or begun[0].position > copy.head:
            self.faults.append(f"attempt {copy.attempt} was sent before the log said so")
            return
        cause: Any = self.record.cause(begun[0].instance, self.request).fact
        if copy.message_id.partition(".")[2].partition("@")[0] != str(begun[1]):
            self.faults.append(f"{copy.message_id} in cycle {begun[1]}")
        number = cause.id
        if cause.data.get("code") and copy.code != f"C{number}":
            self.faults.append(f"sent the code {copy.code} of another event than {number}")

    def _announced_between(self, first: int, second: int) -> None:
        if first not in self.transmissions or second not in self.transmissions:
            return
        start, end = self.transmissions[first][0].position, self.transmissions[second][0].position
        if not any(start < place < end for place in self.announced):
            self.faults.append(f"attempt {second} was sent again without an announcement")


_MEETINGS: dict[type, Any] = {
    AttemptStarted: Life.attempted,
    TransmissionStarted: Life.transmitted,
    RetryRequested: Life.retried,
    OutcomeUnknown: Life.doubted,
    NotificationSent: Life.was_sent,
    NotificationCancelled: Life.cancelled,
    ResendRequested: Life.renewed,
    FeedbackReceived: Life.heard_of,
}
