"""How a worker writes: commands against leased notifications, many in one commit.

Every write goes through ``advance``: it checks the lease and the version, looks at what happened on the
source stream meanwhile, lets the aggregate decide, and stores the events with all that follows from them
(due rows, write-backs, codes no longer needed). All of that is worked out before the append lock is had,
because everybody else waits while it is held; under it one question tells whether the draft still stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias
from uuid import UUID

import msgspec
from msgspec.structs import replace

from event_log import due_queue
from event_log.database import LogCursor
from event_log.due_queue import FENCE_MARGIN, NEVER, Lease, Standing
from event_log.envelope import RecordedEvent, SourceEvent
from event_log.failpoints import failpoint
from event_log.log import Append, Log
from event_log.notifications import Change, Move, cause_of, change, store
from notification_domain import identity
from notification_domain.notification import (
    Cancel,
    Command,
    Progress,
    RecordOutcome,
    Requested,
    Sent,
    StartTransmission,
    Transmitting,
    decide,
    go_on,
)
from notification_domain.notification_events import Event, NotificationRequested, Reason
from notification_domain.policies import obstacle, removal_obstacle, user_obstacle
from notification_domain.recipients import User
from notification_domain.source_events import (
    CodeSent,
    Fact,
    InvalidData,
    OrganisationStateChanged,
    UserStateChanged,
    canonical_type,
    interpret,
)
from notification_domain.triggers import (
    LIFE_CYCLE,
    SURROUNDINGS,
    Trigger,
    trigger_named,
    types_that_matter,
)
from projections import quarantine
from projections.handler import NAME as HANDLER


class Held(msgspec.Struct, frozen=True):
    """A notification this worker holds the lease of, as it last saw it."""

    notification: UUID
    instance: str
    token: int
    state: Requested
    version: int

    @property
    def progress(self) -> Progress:
        return self.state.progress

    @property
    def request(self) -> NotificationRequested:
        return self.state.progress.request

    @property
    def lease(self) -> Lease:
        return self.notification, self.token

    @property
    def title(self) -> str:
        """How lines of the log name it, and whose attempt it is."""
        progress = self.progress
        return (
            f"{self.notification} by {progress.request.channel}"
            f" (attempt {progress.attempt}, lease {self.token})"
        )


class Around(msgspec.Struct, frozen=True):
    """An organisation or an instance, as known when it was loaded."""

    subject: str
    state: str = "active"
    version: int = 0
    """The version of its stream that told it."""


class Subject(msgspec.Struct, frozen=True):
    """A held notification and its recipient as known when it was loaded."""

    held: Held
    user: User = User()
    user_version: int = 0
    """The version of the user's stream that told it."""
    user_id: str = ""
    """Whom the session belongs to, where the request names nobody."""
    around: tuple[Around, ...] = ()
    """The recipient's organisation, where there is one, and the instance."""

    @property
    def user_stream(self) -> UUID | None:
        """None while nobody knows whom it is for."""
        user_id = self.held.request.user_id or self.user_id
        return identity.stream_id(self.held.instance, f"user/{user_id}") if user_id else None


class Step(msgspec.Struct, frozen=True):
    """One command for one held notification."""

    subject: Subject
    command: Command

    @property
    def held(self) -> Held:
        return self.subject.held


class Doubt(msgspec.Struct, frozen=True):
    """Why nobody can say whether anything stands against a message."""

    error: str
    stage: str = "quarantine"


Objection: TypeAlias = Reason | Doubt


class Advanced(msgspec.Struct, frozen=True):
    """The command was decided and its events, if any, are stored."""

    held: Held
    events: tuple[Event, ...]


class Refused(msgspec.Struct, frozen=True):
    """The lease has run out or the stream went on without us: nothing was stored."""

    why: str


Answer: TypeAlias = Advanced | Refused


class _Draft(msgspec.Struct, frozen=True):
    """What steps come to, and what that rests on."""

    answers: list[Answer]
    change: Change
    position: int
    """The last of the log that was seen."""
    streams: set[UUID]
    """Whose every event up to there is in it."""
    leased_until: datetime
    """When the first of its leases is over, on the database's clock."""
    in_time_until: datetime
    """When the first of what is about to transmit expires."""


def advance(log: Log, steps: Sequence[Step], clock: Callable[[], datetime]) -> list[Answer]:
    """Decide and store the steps in one transaction, an answer each, in order.

    Transmissions are judged by the time after all waiting, not by that of their command.
    Raises LogUnavailable when the database is away: then nothing is known of any step.
    """
    failpoint("record.before_append")
    with log.database.connection() as connection:
        cursor = connection.cursor(binary=True)
        draft = _drafted(log, cursor, steps, clock())
        if draft.change.moves:
            sealed = log.sealed(cursor, draft.change.events)
            with log.turn(connection) as append:
                if _stands(append, draft, clock()):
                    store(append, replace(draft.change, sealed=sealed))
                else:
                    draft = _drafted(log, append.cursor, steps, clock())
                    store(append, draft.change)
                failpoint("record.before_commit")
    failpoint("record.after_commit")
    return draft.answers


def _drafted(log: Log, cursor: LogCursor, steps: Sequence[Step], now: datetime) -> _Draft:
    steps = _at(steps, now)
    held = due_queue.held(cursor, [step.held.lease for step in steps], _ends(steps))
    obstacles, streams = _obstacles(log, cursor, steps)
    answers = [_decide(step, held, what) for step, what in zip(steps, obstacles, strict=True)]
    moves = [_move(answer) for answer in answers if isinstance(answer, Advanced)]
    causes = {
        cause_of(answer.held.instance, answer.held.request)[0]: held[answer.held.lease].cause_version
        for answer in answers
        if isinstance(answer, Advanced) and isinstance(answer.held.state, Sent)
    }
    return _Draft(
        answers=answers,
        change=change(moves, causes),
        position=min((standing.position for standing in held.values()), default=0),
        streams=streams.union((notification for notification, _ in held), causes),
        leased_until=min(
            (
                _is_ours_until(step, held[step.held.lease])
                for step, answer in zip(steps, answers, strict=True)
                if isinstance(answer, Advanced)
            ),
            default=NEVER,
        ),
        in_time_until=min((_expiry(step) for step in steps), default=NEVER),
    )


def _is_ours_until(step: Step, standing: Standing) -> datetime:
    """What has happened may be told in the last moments of a lease too."""
    margin = FENCE_MARGIN if isinstance(step.command, RecordOutcome) else timedelta()
    return standing.until + margin


def _expiry(step: Step) -> datetime:
    return step.held.progress.expires_at if isinstance(step.command, StartTransmission) else NEVER


def _stands(append: Append, draft: _Draft, now: datetime) -> bool:
    """Whether nothing has happened since that could change it."""
    return now < draft.in_time_until and not quarantine.moved(
        append.cursor, HANDLER, draft.position, draft.streams, draft.leased_until
    )


def _at(steps: Sequence[Step], now: datetime) -> list[Step]:
    return [
        Step(step.subject, replace(step.command, at=now))
        if isinstance(step.command, StartTransmission)
        else step
        for step in steps
    ]


def _ends(steps: Sequence[Step]) -> list[bool]:
    """Which may turn out sent: then their causes' streams are written to."""
    return [
        isinstance(step.command, RecordOutcome) or isinstance(step.held.state, Transmitting) for step in steps
    ]


def _decide(step: Step, held: Mapping[Lease, Standing], objection: Objection | None) -> Answer:
    mine = step.held
    standing = held.get(mine.lease)
    if standing is None or not _may_write(step, standing):
        return Refused("the lease has run out")
    if standing.version != mine.version:
        return Refused("the stream went on")
    command = step.command
    if isinstance(command, StartTransmission):
        command = _objected(command, objection)
    elif _may_be_over(command) and not isinstance(objection, Reason):
        return Refused("what stood against it is over")
    events = decide(mine.state, command)
    state, version = go_on(mine.state, events), mine.version + len(events)
    return Advanced(Held(mine.notification, mine.instance, mine.token, state, version), events)


def _is_judged_now(command: Command) -> bool:
    return isinstance(command, StartTransmission) or _may_be_over(command)


def _may_be_over(command: Command) -> bool:
    """A user may have been unlocked since a worker looked; what else stands against a message stays."""
    return isinstance(command, Cancel) and command.reason is Reason.USER_INACTIVE


def _objected(command: StartTransmission, objection: Objection | None) -> StartTransmission:
    match objection:
        case None:
            return command
        case Doubt(error):
            return replace(command, doubt=error)
        case _:
            return replace(command, obstacle=objection)


def _may_write(step: Step, standing: Standing) -> bool:
    """Nothing begins without a running lease; what has happened is told as long as nobody else came."""
    return standing.runs or isinstance(step.command, RecordOutcome)


def _move(answer: Advanced) -> Move:
    held = answer.held
    before = held.version - len(answer.events)
    return Move(held.notification, held.instance, answer.events, before, held.state)


# --- the point of no return -----------------------------------------------------------------------


def _obstacles(
    log: Log, cursor: LogCursor, steps: Sequence[Step]
) -> tuple[list[Objection | None], set[UUID]]:
    """What stands against each that is about to transmit or to be cancelled, and the streams that tell it."""
    judged = [step.subject for step in steps if _is_judged_now(step.command)]
    if not judged:
        return [None] * len(steps), set()
    known, topics = what_matters(judged)
    found = iter(_objections(log, cursor, judged, known, topics))
    return [next(found) if _is_judged_now(step.command) else None for step in steps], set(known)


def objections(log: Log, cursor: LogCursor, subjects: Sequence[Subject]) -> list[Objection | None]:
    """What stands against each of them; where its streams cannot be trusted, a doubt."""
    return _objections(log, cursor, subjects, *what_matters(subjects))


def _objections(
    log: Log, cursor: LogCursor, subjects: Sequence[Subject], known: dict[UUID, int], topics: set[str]
) -> list[Objection | None]:
    later, frozen = quarantine.since(log, cursor, HANDLER, known, topics)
    return [stands_against(one, later) or _doubt(one, later, frozen) for one in subjects]


def _trusted(subject: Subject) -> set[UUID | None]:
    """The streams that must be known to their end: what it came from, and whom it is for."""
    cause, _ = cause_of(subject.held.instance, subject.held.request)
    return {cause, subject.user_stream}


def _doubt(
    subject: Subject, later: Mapping[UUID, Sequence[RecordedEvent]], frozen: set[UUID]
) -> Doubt | None:
    is_frozen = bool(frozen) and not frozen.isdisjoint(_trusted(subject))
    if not is_frozen and not _is_unclear(subject, later):
        return None
    return Doubt("an event that may bear on it is in quarantine: it waits for its redrive")


def _is_unclear(subject: Subject, later: Mapping[UUID, Sequence[RecordedEvent]]) -> bool:
    """Whether a newer event may be about its code, but nobody can read which one it is about."""
    trigger = trigger_named(subject.held.request.rule)
    if trigger is None or not trigger.per_code_id:
        return False
    stream, version = cause_of(subject.held.instance, subject.held.request)
    unread = [one for one in later.get(stream, ()) if one.version > version and not _is_readable(one)]
    return any(canonical_type(one.topic) in types_that_matter(trigger) for one in unread)


def what_matters(subjects: Sequence[Subject]) -> tuple[dict[UUID, int], set[str]]:
    """From which versions of which streams on, and at which topics, to look for events that make messages
    pointless.
    """
    known: dict[UUID, int] = {}
    for subject in subjects:
        for stream, version in _known(subject):
            known[stream] = min(version, known.get(stream, version))
    topics = set(LIFE_CYCLE | SURROUNDINGS)
    for rule in {subject.held.request.rule for subject in subjects}:
        trigger = trigger_named(rule)
        topics |= _with_old_names(types_that_matter(trigger)) if trigger else set()
    return known, topics


def _known(subject: Subject) -> list[tuple[UUID, int]]:
    known = [cause_of(subject.held.instance, subject.held.request)]
    if stream := subject.user_stream:
        known.append((stream, subject.user_version))
    return known + [(_stream_of(subject, around), around.version) for around in subject.around]


def stands_against(subject: Subject, later: dict[UUID, list[RecordedEvent]]) -> Reason | None:
    trigger = trigger_named(subject.held.request.rule)
    if trigger is None:
        return None
    removed = removal_obstacle(*(_state_of(subject, around, later) for around in subject.around))
    user = user_obstacle(trigger, _user_state(subject, later))
    return _overtaken(subject, trigger, later) or removed or user


def _overtaken(subject: Subject, trigger: Trigger, later: dict[UUID, list[RecordedEvent]]) -> Reason | None:
    request = subject.held.request
    stream, version = cause_of(subject.held.instance, request)
    understood = (_understood(event) for event in later.get(stream, ()) if event.version > version)
    # What an earlier cycle wrote back is no reason against the one an operator has asked for.
    events = tuple((name, fact) for name, fact in understood if not _names(fact, subject.held.notification))
    return obstacle(trigger, version, request.arguments.get("CodeID", ""), events)


def _stream_of(subject: Subject, around: Around) -> UUID:
    return identity.stream_id(subject.held.instance, around.subject)


def _state_of(subject: Subject, around: Around, later: dict[UUID, list[RecordedEvent]]) -> str:
    state = around.state
    for event in later.get(_stream_of(subject, around), ()):
        _, fact = _understood(event)
        if event.version > around.version and isinstance(fact, OrganisationStateChanged):
            state = fact.state
    return state


def _names(fact: Fact | None, notification: UUID) -> bool:
    cause = fact.cause if isinstance(fact, CodeSent) else None
    return cause is not None and cause.notification_id == str(notification)


def _user_state(subject: Subject, later: dict[UUID, list[RecordedEvent]]) -> str:
    state, stream = subject.user.state, subject.user_stream
    for event in later.get(stream, ()) if stream else ():
        _, fact = _understood(event)
        if event.version > subject.user_version and isinstance(fact, UserStateChanged) and state != "removed":
            state = fact.state
    return state


def _understood(event: RecordedEvent) -> tuple[str, Fact | None]:
    """Its type by the name it has today, and its fact as far as anybody can read it."""
    return canonical_type(event.topic), _interpreted(event) if _is_readable(event) else None


def _is_readable(event: RecordedEvent) -> bool:
    """What is not freezes its stream when the handler comes to it."""
    try:
        _interpreted(event)
    except InvalidData:
        return False
    return True


def _interpreted(event: RecordedEvent) -> Fact | None:
    if not isinstance(event.fact, SourceEvent):
        raise InvalidData("", f"{event.topic} does not open")
    return interpret(event.fact.type, event.fact.data)


def _with_old_names(types: frozenset[str]) -> set[str]:
    return set(types) | {name.replace("user.human.", "user.", 1) for name in types}
