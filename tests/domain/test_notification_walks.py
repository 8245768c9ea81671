"""Random walks of commands through one notification, and what holds at every step of all of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from notification_domain.backoff import RetryPolicy
from notification_domain.notification import (
    Attempting,
    Cancel,
    Cancelled,
    Command,
    Declined,
    HearFeedback,
    Initial,
    Open,
    Park,
    Parked,
    Postpone,
    Progress,
    RecordOutcome,
    RequestResend,
    Resolve,
    Sent,
    StartAttempt,
    StartTransmission,
    State,
    Transmitting,
    Waiting,
    decide,
    fold,
    is_closed,
)
from notification_domain.notification_events import (
    AttemptStarted,
    Event,
    FeedbackReceived,
    NotificationCancelled,
    NotificationDeclined,
    NotificationRequested,
    NotificationSent,
    OutcomeUnknown,
    Reason,
    ResendRequested,
    RetryRequested,
    Standing,
    TransmissionStarted,
)
from notification_domain.outcomes import Deferred, Outcome
from notification_domain.recipients import User
from tests.domain.examples import NOW
from tests.domain.strategies import (
    commands,
    feedback,
    jitters,
    outcomes,
    policies,
    reasons,
    recipients,
    requests,
    texts,
)


def without_feedback(events: Iterable[Event]) -> list[Event]:
    return [event for event in events if not isinstance(event, FeedbackReceived)]


class Delivery(RuleBasedStateMachine):
    """One notification, the workers and operators that deal with it, and a clock that only goes forward."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW - timedelta(hours=2)
        self.policy = RetryPolicy()
        self.history: tuple[Event, ...] = ()
        self.state: State = Initial()

    def order(self, command: Command) -> tuple[Event, ...]:
        events = decide(self.state, command)
        self._check_delays(events)
        self.history += events
        self.state = fold(events, self.state)
        return events

    def _check_delays(self, events: tuple[Event, ...]) -> None:
        cap = timedelta(seconds=self.policy.max_delay)
        least = min(timedelta(seconds=self.policy.min_delay), cap)
        for event in events:
            if isinstance(event, RetryRequested):
                assert least <= timedelta(seconds=event.backoff) <= cap
                expires_at = self.progress.expires_at
                assert (
                    min(self.now + least, expires_at) <= event.not_before <= min(self.now + cap, expires_at)
                )

    @property
    def progress(self) -> Progress:
        assert not isinstance(self.state, Initial | Declined)
        return self.state.progress

    def cycles(self) -> list[list[Event]]:
        """The history in its cycles; each but the first begins with a resend."""
        cycles: list[list[Event]] = [[]]
        for event in self.history:
            if isinstance(event, ResendRequested):
                cycles.append([])
            cycles[-1].append(event)
        return cycles

    def accepted(self) -> set[int]:
        reports = [event for event in self.history if isinstance(event, FeedbackReceived)]
        return {report.attempt for report in reports if report.standing is not Standing.FAILED}

    # --- what can happen --------------------------------------------------------------------------

    @initialize(request=requests(), policy=policies)
    def is_requested(self, request: NotificationRequested, policy: RetryPolicy) -> None:
        self.policy = policy
        assert self.order(Open(request)) == (request,)

    @rule(seconds=st.sampled_from([1, 60, 3600]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(token=st.integers(1, 9))
    def a_worker_claims(self, token: int) -> None:
        self.order(StartAttempt(self.now, token, "smtp", self.policy))

    @precondition(lambda self: isinstance(self.state, Attempting))
    @rule(obstacle=st.sampled_from([None, None, None, Reason.SUPERSEDED]))
    def a_worker_is_ready_to_transmit(self, obstacle: Reason | None) -> None:
        self.order(StartTransmission(self.now, obstacle))

    @precondition(lambda self: isinstance(self.state, Attempting | Transmitting))
    @rule(outcome=outcomes, jitter=jitters, recipient=recipients)
    def a_channel_reports(self, outcome: Outcome, jitter: float, recipient: User | None) -> None:
        command = RecordOutcome(
            at=self.now, outcome=outcome, policy=self.policy, jitter=jitter, recipient=recipient
        )
        events = self.order(command)
        if isinstance(outcome, Deferred) and outcome.account_fault:
            assert isinstance(self.state, Waiting)
            assert self.progress.spent < self.policy.max_attempts
        assert events

    @rule(jitter=jitters)
    def something_is_lacking(self, jitter: float) -> None:
        self.order(Postpone(self.now, "recipient", "unknown", self.policy, jitter))

    @rule()
    def claims_are_lost(self) -> None:
        self.order(Park(self.now, "lost"))

    @rule(reason=reasons)
    def somebody_cancels(self, reason: Reason) -> None:
        before = self.state
        self.order(Cancel(reason))
        if isinstance(before, Waiting | Attempting):
            assert isinstance(self.state, Cancelled)
            assert decide(self.state, StartTransmission(self.now)) == ()

    @precondition(lambda self: isinstance(self.state, Parked))
    @rule(outcome=st.sampled_from(["sent", "retry", "cancelled"]))
    def a_person_resolves(self, outcome: str) -> None:
        assert self.order(Resolve(self.now, outcome, "looked at it"))

    @rule(heard=feedback(), back=st.integers(0, 2))
    def a_provider_reports_later(self, heard: FeedbackReceived, back: int) -> None:
        newest = 0 if isinstance(self.state, Initial | Declined) else self.progress.attempt
        before = self.state
        events = self.order(HearFeedback(replace(heard, attempt=max(newest - back, 0))))
        if is_closed(before):
            assert not any(isinstance(event, NotificationSent | NotificationCancelled) for event in events)
        if isinstance(before, Transmitting):
            assert isinstance(self.state, Transmitting)
        if isinstance(self.state, Sent) and not is_closed(before):
            assert heard.standing is not Standing.FAILED

    @precondition(lambda self: is_closed(self.state))
    @rule(reason=texts, hours=st.integers(1, 3))
    def an_operator_asks_again(self, reason: str, hours: int) -> None:
        assert self.order(RequestResend(self.now, reason, self.now + timedelta(hours=hours)))

    @precondition(lambda self: is_closed(self.state))
    @rule(command=commands)
    def any_command_comes_late(self, command: Command) -> None:
        if not isinstance(command, RequestResend | HearFeedback):
            assert self.order(command) == ()

    # --- what always holds ------------------------------------------------------------------------

    @invariant()
    def the_state_is_the_fold_of_the_history(self) -> None:
        assert self.state == fold(self.history)

    @invariant()
    def it_is_decided_once(self) -> None:
        decisions = [e for e in self.history if isinstance(e, NotificationRequested | NotificationDeclined)]
        assert decisions == list(self.history[:1])

    @invariant()
    def a_cycle_ends_at_most_once_and_nothing_follows_its_end(self) -> None:
        for cycle in map(without_feedback, self.cycles()):
            endings = [e for e in cycle if isinstance(e, NotificationSent | NotificationCancelled)]
            assert endings in ([], cycle[-1:])

    @invariant()
    def a_cycle_is_closed_before_the_next_begins(self) -> None:
        for before, _ in pairwise(map(without_feedback, self.cycles())):
            parked = isinstance(before[-1], OutcomeUnknown)
            assert parked or isinstance(before[-1], NotificationSent | NotificationCancelled)

    @invariant()
    def no_second_transmission_begins_before_the_first_is_accounted_for(self) -> None:
        under_way = False
        for event in without_feedback(self.history):
            if isinstance(event, TransmissionStarted):
                assert not under_way
                under_way = True
            elif not isinstance(event, AttemptStarted):
                under_way = False
            else:
                assert not under_way

    @invariant()
    def attempts_are_numbered_one_by_one(self) -> None:
        numbers = [event.attempt for event in self.history if isinstance(event, AttemptStarted)]
        assert numbers == list(range(1, len(numbers) + 1))

    @invariant()
    def the_newest_attempt_alone_is_under_way(self) -> None:
        newest = 0
        for event in self.history:
            if isinstance(event, AttemptStarted):
                newest = event.attempt
            elif not isinstance(event, NotificationRequested | NotificationDeclined | ResendRequested):
                # A report may be of any attempt there was, and so may an ending that follows from one.
                reported = isinstance(event, FeedbackReceived) or event.attempt in self.accepted()
                assert event.attempt == newest or (reported and 1 <= event.attempt < newest)

    @invariant()
    def no_cycle_spends_more_than_its_attempts(self) -> None:
        for cycle in self.cycles():
            begun = sum(isinstance(event, TransmissionStarted) for event in cycle)
            given_back = sum(
                isinstance(event, RetryRequested)
                and not event.counts
                and isinstance(before, TransmissionStarted)
                for before, event in pairwise(without_feedback(cycle))
            )
            assert begun - given_back <= self.policy.max_attempts

    @invariant()
    def it_never_counts_more_than_its_attempts(self) -> None:
        if not isinstance(self.state, Initial):
            assert 0 <= self.progress.spent <= self.policy.max_attempts
            assert self.progress.spent <= self.progress.total_spent

    @invariant()
    def expiry_moves_only_with_a_new_cycle(self) -> None:
        expires_at = None
        for event in self.history:
            if isinstance(event, NotificationRequested | ResendRequested):
                expires_at = event.expires_at
        if expires_at is not None:
            assert self.progress.expires_at == expires_at

    @invariant()
    def the_first_snapshot_of_the_recipient_is_kept(self) -> None:
        snapshots = [e.recipient for e in self.history if isinstance(e, RetryRequested | OutcomeUnknown)]
        taken = [snapshot for snapshot in snapshots if snapshot is not None]
        assert snapshots == [None] * (len(snapshots) - len(taken)) + taken[:1] * len(taken)

    @invariant()
    def it_is_sent_at_most_once_in_a_cycle(self) -> None:
        assert all(
            sum(isinstance(event, NotificationSent) for event in cycle) <= 1 for cycle in self.cycles()
        )
        if isinstance(self.state, Sent):
            assert isinstance(without_feedback(self.history)[-1], NotificationSent)

    @invariant()
    def an_accepted_message_is_not_sent_again_in_its_cycle(self) -> None:
        for cycle in self.cycles():
            accepted = False
            for event in cycle:
                assert not (accepted and isinstance(event, TransmissionStarted))
                begun = [e.attempt for e in cycle if isinstance(e, AttemptStarted)]
                accepted = accepted or (
                    isinstance(event, FeedbackReceived)
                    and event.standing is not Standing.FAILED
                    and event.attempt in begun
                )


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(stateful_step_count=30)
