"""The notification aggregate: one thing to tell one recipient by one channel.

Commands, state, ``decide`` and ``evolve``, in that order; the events stand in ``notification_events``.
Both functions are total: a command that no longer applies gives ``()``, and an ending stands whatever
event follows it, until a new cycle begins.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypeAlias, assert_never

import msgspec
from msgspec.structs import replace

from notification_domain.backoff import RetryPolicy, next_delay
from notification_domain.feedback import arrived, failed, is_known, rejected_by, sent_by
from notification_domain.notification_events import (
    Aftermath,
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
from notification_domain.outcomes import Deferred, Delivered, Outcome, Rejected, Unknown
from notification_domain.recipients import User

# --- commands -------------------------------------------------------------------------------------


class Open(msgspec.Struct, frozen=True):
    """Record the decision a policy reached."""

    decision: NotificationRequested | NotificationDeclined


class StartAttempt(msgspec.Struct, frozen=True):
    at: datetime
    lease_token: int
    provider: str
    policy: RetryPolicy = RetryPolicy()
    """Bounds what a lost transmission may lead to."""


class StartTransmission(msgspec.Struct, frozen=True):
    at: datetime
    obstacle: Reason | None = None
    """What later events of the source stream or the user's state hold against it."""
    doubt: str = ""
    """Why nobody can say what they hold against it; then it waits."""
    policy: RetryPolicy = RetryPolicy()
    jitter: float = 0.0
    """How long it does."""


class RecordOutcome(msgspec.Struct, frozen=True, kw_only=True):
    at: datetime
    outcome: Outcome
    policy: RetryPolicy
    jitter: float
    """Chance in [0, 1)."""
    recipient: User | None = None
    provider: str = ""
    template_version: str = ""
    text_version: str = ""


class Cancel(msgspec.Struct, frozen=True):
    reason: Reason
    error: str = ""
    by: str = ""


class Postpone(msgspec.Struct, frozen=True):
    """Wait without an attempt: what is missing (a recipient, a provider) may yet come."""

    at: datetime
    stage: str
    error: str
    policy: RetryPolicy
    jitter: float


class Park(msgspec.Struct, frozen=True):
    at: datetime
    error: str


class RequestResend(msgspec.Struct, frozen=True):
    at: datetime
    reason: str
    expires_at: datetime
    by: str = ""
    idempotency_key: str = ""


class Resolve(msgspec.Struct, frozen=True):
    """End a parked notification: it was sent, is to be tried again, or is given up."""

    at: datetime
    outcome: str
    """sent, retry or cancelled."""
    reason: str
    by: str = ""
    idempotency_key: str = ""


class HearFeedback(msgspec.Struct, frozen=True):
    """Take in what a provider reports later of one attempt."""

    feedback: FeedbackReceived


Command: TypeAlias = (
    Open
    | StartAttempt
    | StartTransmission
    | RecordOutcome
    | Cancel
    | Postpone
    | Park
    | RequestResend
    | Resolve
    | HearFeedback
)

# --- state ----------------------------------------------------------------------------------------


class Initial(msgspec.Struct, frozen=True):
    pass


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What every requested notification carries from state to state."""

    request: NotificationRequested
    expires_at: datetime
    attempt: int = 0
    """Number of the newest attempt; goes on over cycles."""
    spent: int = 0
    """Attempts of this cycle that ended with an outcome or reached the point of no return.

    Those that failed by the provider account's fault do not count.
    """
    total_spent: int = 0
    """The same over all cycles, with what failed by an account's fault after transmission began."""
    backoff: float | None = None
    unknowns: int = 0
    cycle: int = 1
    recipient: User | None = None
    provider: str = ""
    lease_token: int = 0
    """Whose attempt the newest one is."""
    not_before: datetime
    """When it is, or was last, due."""
    earlier_attempts: int = 0
    """Those of earlier cycles: what is reported of them says nothing about this one."""
    doubt: int = 0
    """The newest attempt whose outcome was unknown."""
    heard: tuple[FeedbackReceived, ...] = ()


class Waiting(msgspec.Struct, frozen=True):
    progress: Progress


class Attempting(msgspec.Struct, frozen=True):
    progress: Progress


class Transmitting(msgspec.Struct, frozen=True):
    progress: Progress


class Parked(msgspec.Struct, frozen=True):
    progress: Progress


class Sent(msgspec.Struct, frozen=True):
    progress: Progress


class Cancelled(msgspec.Struct, frozen=True):
    progress: Progress
    reason: Reason


class Declined(msgspec.Struct, frozen=True):
    decision: NotificationDeclined


Requested: TypeAlias = Waiting | Attempting | Transmitting | Parked | Sent | Cancelled
"""Those that have a progress."""
State: TypeAlias = Initial | Requested | Declined

RESEND_NEEDS = timedelta(seconds=60)
"""A code is sent again after an unknown outcome only while more than this of its validity is left."""

# --- decide ---------------------------------------------------------------------------------------


def decide(state: State, command: Command) -> tuple[Event, ...]:
    match state:
        case Initial():
            return (command.decision,) if isinstance(command, Open) else ()
        case Waiting(progress) | Attempting(progress) | Transmitting(progress):
            return _decide_open(state, progress, command)
        case Parked(progress):
            return _decide_parked(progress, command)
        case Sent() | Cancelled():
            return _decide_closed(state, command)
        case Declined():
            return ()
        case _:
            assert_never(state)


def _decide_open(  # noqa: PLR0911  # a case a command
    state: Waiting | Attempting | Transmitting, progress: Progress, command: Command
) -> tuple[Event, ...]:
    match command:
        case StartAttempt():
            return _start_attempt(state, progress, command)
        case StartTransmission() if isinstance(state, Attempting):
            return _start_transmission(progress, command)
        case RecordOutcome() if not isinstance(state, Waiting):
            return _conclude(state, progress, command)
        case Cancel() if not isinstance(state, Transmitting):
            return (_given_up(progress, command.reason, command.error, command.by),)
        case Postpone() if not isinstance(state, Transmitting):
            return _postpone(state, progress, command)
        case Park():
            doubt = _unknown(progress, command.error, "claim", Aftermath.PARK, command.at)
            return _settled(state, progress) or (doubt,)
        case HearFeedback():
            return _hear(state, progress, command.feedback)
        case _:
            return ()


def _start_attempt(
    state: Waiting | Attempting | Transmitting, progress: Progress, command: StartAttempt
) -> tuple[Event, ...]:
    if isinstance(state, Transmitting):
        # Whoever transmitted is gone without a word: announce the doubt before anything else.
        lost = Unknown("process", "the worker was lost during transmission")
        return _settled(state, progress) or _doubt(progress, lost, command)
    if command.at >= progress.expires_at:
        return (NotificationCancelled(reason=Reason.EXPIRED, attempt=progress.attempt),)
    return (AttemptStarted(progress.attempt + 1, command.lease_token, command.provider),)


def _start_transmission(progress: Progress, command: StartTransmission) -> tuple[Event, ...]:
    if command.obstacle is not None:
        return (NotificationCancelled(reason=command.obstacle, attempt=progress.attempt),)
    if command.at >= progress.expires_at:
        return (NotificationCancelled(reason=Reason.EXPIRED, attempt=progress.attempt),)
    if command.doubt:
        lack = Postpone(command.at, "quarantine", command.doubt, command.policy, command.jitter)
        return _postpone(Attempting(progress), progress, lack)
    return (TransmissionStarted(progress.attempt),)


def _conclude(
    state: Attempting | Transmitting, progress: Progress, command: RecordOutcome
) -> tuple[Event, ...]:
    match command.outcome:
        case Deferred() | Rejected() if _proof(state, progress) is not None:
            return _settled(state, progress)
        case Delivered(provider_message_id, reply):
            return (
                NotificationSent(
                    attempt=progress.attempt,
                    provider=command.provider,
                    provider_message_id=provider_message_id,
                    reply=reply,
                    template_version=command.template_version,
                    text_version=command.text_version,
                ),
            )
        case Rejected(stage, error):
            return (
                NotificationCancelled(
                    reason=Reason.REJECTED, attempt=progress.attempt, error=error, stage=stage
                ),
            )
        case Deferred():
            return _retry(state, progress, command.outcome, command)
        case Unknown():
            doubt = _doubt(progress, command.outcome, command, command.recipient)
            return _settled(state, progress) or doubt
        case _:
            assert_never(command.outcome)


def _postpone(
    state: Waiting | Attempting | Transmitting, progress: Progress, command: Postpone
) -> tuple[Event, ...]:
    lack = Deferred(command.stage, command.error, account_fault=True)
    outcome = RecordOutcome(at=command.at, outcome=lack, policy=command.policy, jitter=command.jitter)
    return _retry(state, progress, lack, outcome)


def _retry(
    state: Waiting | Attempting | Transmitting,
    progress: Progress,
    deferred: Deferred,
    command: RecordOutcome,
) -> tuple[Event, ...]:
    counts = not deferred.account_fault
    spent = progress.spent + (1 if counts and isinstance(state, Attempting) else 0)
    if counts and spent >= command.policy.max_attempts:
        return (
            NotificationCancelled(
                reason=Reason.ATTEMPTS_EXHAUSTED,
                attempt=progress.attempt,
                error=deferred.error,
                stage=deferred.stage,
            ),
        )
    previous = None if progress.backoff is None else timedelta(seconds=progress.backoff)
    delay = next_delay(previous, command.policy, command.jitter)
    wait = max(delay, _asked(deferred.retry_after, command.policy))
    return (
        RetryRequested(
            attempt=progress.attempt,
            error=deferred.error,
            stage=deferred.stage,
            recipient=progress.recipient or command.recipient,
            backoff=delay.total_seconds(),
            # Expiry is looked at when the time has come, so that giving up is recorded when it is true.
            not_before=min(command.at + wait, progress.expires_at),
            counts=counts,
        ),
    )


def _asked(retry_after: float | None, policy: RetryPolicy) -> timedelta:
    """What a provider asks us to wait, within the cap; a provider may answer with any number, or none."""
    return timedelta(seconds=max(0.0, min(policy.max_delay, retry_after or 0.0)))


def _doubt(
    progress: Progress,
    unknown: Unknown,
    command: StartAttempt | RecordOutcome,
    recipient: User | None = None,
) -> tuple[Event, ...]:
    aftermath = after_unknown(progress, command.at, command.policy)
    doubt = _unknown(progress, unknown.error, unknown.stage, aftermath, command.at, recipient)
    if aftermath is Aftermath.EXPIRE:
        return (doubt, NotificationCancelled(reason=Reason.EXPIRED, attempt=progress.attempt))
    return (doubt,)


def after_unknown(progress: Progress, at: datetime, policy: RetryPolicy) -> Aftermath:
    """What an unknown outcome leads to, by kind of message (docs/delivery.md has the table).

    A valid code is sent again once, a security notice too, as long as an attempt is left; anything else
    waits for a person.
    """
    request = progress.request
    exhausted = progress.spent >= policy.max_attempts
    if progress.unknowns >= 1 or exhausted or request.message_type == "InviteUser":
        return Aftermath.PARK
    if request.secret or request.otp:
        deadline = request.code_expires_at or progress.expires_at
        return Aftermath.RESEND if deadline - at > RESEND_NEEDS else Aftermath.EXPIRE
    return Aftermath.RESEND if request.channel == "email" else Aftermath.PARK


def _unknown(
    progress: Progress,
    error: str,
    stage: str,
    aftermath: Aftermath,
    at: datetime,
    recipient: User | None = None,
) -> OutcomeUnknown:
    return OutcomeUnknown(
        attempt=progress.attempt,
        error=error,
        stage=stage,
        aftermath=aftermath,
        not_before=at,
        recipient=progress.recipient or recipient,
    )


def _proof(state: State, progress: Progress) -> FeedbackReceived | None:
    """What came in during transmission: it stands for an answer that fails to come."""
    return arrived(progress.heard, progress.earlier_attempts) if isinstance(state, Transmitting) else None


def _settled(state: State, progress: Progress) -> tuple[Event, ...]:
    """The ending that feedback has proven by the time a transmission turns out in doubt."""
    if (proof := _proof(state, progress)) is not None:
        return (sent_by(proof),)
    failure = failed(progress.heard, progress.attempt)
    return (rejected_by(failure),) if failure and isinstance(state, Transmitting) else ()


def _hear(
    state: Waiting | Attempting | Transmitting | Parked, progress: Progress, feedback: FeedbackReceived
) -> tuple[Event, ...]:
    if not _is_news(progress, feedback):
        return ()
    current = feedback.attempt > progress.earlier_attempts
    if not current or isinstance(state, Transmitting):
        # In transmission the answer itself is still to come, and says more.
        return (feedback,)
    if feedback.standing is not Standing.FAILED:
        return (feedback, sent_by(feedback))
    doubted = feedback.attempt == progress.doubt == progress.attempt and not isinstance(state, Attempting)
    return (feedback, rejected_by(feedback)) if doubted else (feedback,)


def _is_news(progress: Progress, feedback: FeedbackReceived) -> bool:
    """About an attempt there was, and not said before."""
    return 1 <= feedback.attempt <= progress.attempt and not is_known(progress.heard, feedback)


def _given_up(progress: Progress, reason: Reason, error: str, by: str) -> NotificationCancelled:
    return NotificationCancelled(reason=reason, attempt=progress.attempt, error=error, by=by)


def _decide_parked(progress: Progress, command: Command) -> tuple[Event, ...]:
    match command:
        case Resolve(outcome="retry"):
            return (_new_cycle(command, progress.expires_at),)
        case Resolve(outcome="sent", reason=reason, by=by):
            return (
                NotificationSent(attempt=progress.attempt, provider=progress.provider, reply=reason, by=by),
            )
        case Resolve(outcome="cancelled", reason=reason, by=by) | Cancel(Reason.OPERATOR, reason, by):
            return (_given_up(progress, Reason.OPERATOR, reason, by),)
        case HearFeedback(feedback):
            return _hear(Parked(progress), progress, feedback)
        case _:
            return ()


def _decide_closed(state: Sent | Cancelled, command: Command) -> tuple[Event, ...]:
    progress = state.progress
    match command:
        case RequestResend():
            return (_new_cycle(command, command.expires_at),)
        case HearFeedback(feedback) if not _is_what_sent_says(state, feedback):
            return (feedback,) if _is_news(progress, feedback) else ()
        case _:
            return ()


def _is_what_sent_says(state: Sent | Cancelled, feedback: FeedbackReceived) -> bool:
    """That the provider has the newest attempt; of an earlier one, or of a cancelled one, it is news."""
    newest = feedback.attempt == state.progress.attempt
    return isinstance(state, Sent) and newest and feedback.standing is Standing.ACCEPTED


def _new_cycle(command: RequestResend | Resolve, expires_at: datetime) -> ResendRequested:
    return ResendRequested(
        reason=command.reason,
        not_before=command.at,
        expires_at=expires_at,
        by=command.by,
        idempotency_key=command.idempotency_key,
    )


# --- evolve ---------------------------------------------------------------------------------------


def evolve(state: State, event: Event) -> State:
    match state:
        case Initial():
            return _opened(event)
        case Declined():
            return state
        case _:
            return _next(state, event)


def _opened(event: Event) -> State:
    match event:
        case NotificationRequested():
            return Waiting(Progress(request=event, expires_at=event.expires_at, not_before=event.decided_at))
        case NotificationDeclined():
            return Declined(event)
        case _:
            return Initial()


def _next(state: Requested, event: Event) -> Requested:
    if isinstance(state, Sent | Cancelled) and not isinstance(event, ResendRequested | FeedbackReceived):
        return state
    return _moved(state, state.progress, event)


def _moved(state: Requested, progress: Progress, event: Event) -> Requested:  # noqa: C901, PLR0911  # a case an event
    match event:
        case AttemptStarted(attempt, token, provider):
            return Attempting(replace(progress, attempt=attempt, lease_token=token, provider=provider))
        case TransmissionStarted():
            return Transmitting(_spend(progress))
        case RetryRequested():
            return _postponed(state, progress, event)
        case OutcomeUnknown():
            return _doubted(progress, event)
        case NotificationSent():
            return Sent(progress)
        case NotificationCancelled(reason=reason):
            ended = isinstance(state, Attempting) and bool(event.stage)
            return Cancelled(_spend(progress) if ended else progress, reason)
        case ResendRequested():
            again = replace(
                progress,
                spent=0,
                backoff=None,
                unknowns=0,
                cycle=progress.cycle + 1,
                expires_at=event.expires_at,
                not_before=event.not_before,
                earlier_attempts=progress.attempt,
            )
            return Waiting(again)
        case FeedbackReceived():
            return replace(state, progress=replace(progress, heard=(*progress.heard, event)))
        case NotificationRequested() | NotificationDeclined():
            return state
        case _:
            assert_never(event)


def _spend(progress: Progress) -> Progress:
    return replace(progress, spent=progress.spent + 1, total_spent=progress.total_spent + 1)


def _postponed(state: State, progress: Progress, event: RetryRequested) -> Waiting:
    if isinstance(state, Transmitting):
        # An account's fault costs the message nothing, not even where it shows only after transmission.
        progress = progress if event.counts else replace(progress, spent=progress.spent - 1)
    elif event.counts:
        progress = _spend(progress)
    later = replace(progress, backoff=event.backoff, recipient=event.recipient, not_before=event.not_before)
    return Waiting(later)


def _doubted(progress: Progress, event: OutcomeUnknown) -> Waiting | Parked:
    doubted = replace(
        progress,
        unknowns=progress.unknowns + 1,
        doubt=event.attempt,
        recipient=event.recipient,
        not_before=event.not_before,
    )
    return Waiting(doubted) if event.aftermath is Aftermath.RESEND else Parked(doubted)


def fold(events: tuple[Event, ...] | list[Event], state: State | None = None) -> State:
    state = Initial() if state is None else state
    for event in events:
        state = evolve(state, event)
    return state


def go_on(state: Requested, events: tuple[Event, ...]) -> Requested:
    """As fold, from a state that has a progress: no event takes it back."""
    for event in events:
        state = _next(state, event)
    return state


def is_closed(state: State) -> bool:
    """Sent, cancelled or declined; a parked notification is still open."""
    return isinstance(state, Sent | Cancelled | Declined)


def state_name(state: State) -> str:
    """The state as REST and the due queue name it, such as ``waiting``."""
    return type(state).__name__.lower()
