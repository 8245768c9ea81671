"""Arbitrary events and commands, sensible ones and others."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import strategies as st
from msgspec.structs import replace

from notification_domain.backoff import RetryPolicy
from notification_domain.notification import (
    Cancel,
    Command,
    HearFeedback,
    Open,
    Park,
    Postpone,
    RecordOutcome,
    RequestResend,
    Resolve,
    StartAttempt,
    StartTransmission,
)
from notification_domain.notification_events import (
    Aftermath,
    AttemptStarted,
    Event,
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
from notification_domain.outcomes import Deferred, Delivered, Outcome, Rejected, Unknown
from notification_domain.recipients import User
from tests.domain.examples import ADA, DECLINED, NOW, REQUESTS

texts = st.text(max_size=5)
numbers = st.integers(0, 10)
reasons = st.sampled_from(Reason)
times = st.integers(-7200, 7200).map(lambda seconds: NOW + timedelta(seconds=seconds))
jitters = st.floats(0, 1, exclude_max=True)
delays = st.floats(0.001, 3600)
recipients: st.SearchStrategy[User | None] = st.sampled_from(
    [None, ADA, User(), User(last_email="new@acme.example")]
)
policies = st.builds(
    RetryPolicy, max_attempts=st.integers(1, 4), min_delay=delays, max_delay=delays, factor=st.floats(0, 10)
)
outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Delivered),
    st.builds(Deferred, texts, texts, st.none() | st.floats(), st.booleans()),
    st.builds(Rejected, texts, texts),
    st.builds(Unknown, texts, texts),
)


@st.composite
def requests(draw: st.DrawFn) -> NotificationRequested:
    request = draw(st.sampled_from(REQUESTS))
    expires_at = draw(times)
    code_expires_at = draw(st.none() | st.just(expires_at))
    return replace(request, expires_at=expires_at, code_expires_at=code_expires_at, otp=draw(st.booleans()))


_words = {
    Standing.ACCEPTED: ("queued", "sent"),
    Standing.DELIVERED: ("delivered",),
    Standing.FAILED: ("undelivered", "failed"),
}


@st.composite
def feedback(draw: st.DrawFn) -> FeedbackReceived:
    standing = draw(st.sampled_from(Standing))
    return FeedbackReceived(
        attempt=draw(numbers),
        provider="twilio",
        status=draw(st.sampled_from(_words[standing])),
        standing=standing,
        code=draw(st.sampled_from(["", "30005", "30007"])),
    )


events: st.SearchStrategy[Event] = st.one_of(
    requests(),
    st.builds(replace, st.just(DECLINED), reason=reasons),
    st.builds(AttemptStarted, numbers, numbers, texts),
    st.builds(TransmissionStarted, numbers),
    st.builds(
        RetryRequested,
        attempt=numbers,
        error=texts,
        stage=texts,
        recipient=recipients,
        backoff=delays,
        not_before=times,
        counts=st.booleans(),
    ),
    st.builds(
        OutcomeUnknown,
        attempt=numbers,
        error=texts,
        stage=texts,
        aftermath=st.sampled_from(Aftermath),
        not_before=times,
        recipient=recipients,
    ),
    st.builds(NotificationSent, attempt=numbers, provider=texts),
    st.builds(NotificationCancelled, reason=reasons, attempt=numbers, stage=texts),
    st.builds(ResendRequested, reason=texts, not_before=times, expires_at=times),
    feedback(),
)
histories = st.lists(events, max_size=12).map(tuple)
begun = st.builds(lambda request, rest: (request, *rest), requests(), histories)
"""Histories that begin with a request, as all that go on do."""

commands: st.SearchStrategy[Command] = st.one_of(
    requests().map(Open),
    st.builds(StartAttempt, times, numbers, texts, policies),
    st.builds(StartTransmission, times, st.none() | reasons, st.just("") | texts, policies, jitters),
    st.builds(
        RecordOutcome, at=times, outcome=outcomes, policy=policies, jitter=jitters, recipient=recipients
    ),
    st.builds(Cancel, reasons, texts),
    st.builds(Postpone, times, texts, texts, policies, jitters),
    st.builds(Park, times, texts),
    st.builds(RequestResend, times, texts, times),
    st.builds(Resolve, times, st.sampled_from(["sent", "retry", "cancelled", ""]), texts),
    feedback().map(HearFeedback),
)
