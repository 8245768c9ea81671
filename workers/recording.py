"""How a worker writes: commands against leased notifications, many in one commit.

Every write goes through ``advance``: under the append lock it checks the lease and the version, looks
at what happened on the source stream meanwhile, lets the aggregate decide, and stores the events with
all that follows from them (due rows, write-backs, codes no longer needed).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias
from uuid import UUID

import msgspec
from msgspec.structs import replace

from event_log import due_queue, secret_store
from event_log.envelope import Envelope, RecordedEvent, SourceEvent
from event_log.log import Append, Log
from event_log.mapper import FINGERPRINT_BYTES
from notification_domain import identity
from notification_domain.notification import (
    Command,
    Progress,
    StartTransmission,
    State,
    decide,
    fold,
    is_closed,
)
from notification_domain.notification_events import Event, NotificationRequested, NotificationSent, Reason
from notification_domain.policies import obstacle, user_obstacle
from notification_domain.recipients import User
from notification_domain.source_events import Fact, InvalidData, UserStateChanged, canonical_type, interpret
from notification_domain.triggers import LIFE_CYCLE, Trigger, trigger_named, types_that_matter


class Held(msgspec.Struct, frozen=True):
    """A notification this worker holds the lease of, as it last saw it."""

    notification: UUID
    instance: str
    token: int
    state: State
    version: int

    @property
    def progress(self) -> Progress:
        progress = getattr(self.state, "progress", None)
        assert isinstance(progress, Progress), "only requested notifications are leased"
        return progress

    @property
    def request(self) -> NotificationRequested:
        return self.progress.request


class Subject(msgspec.Struct, frozen=True):
    """A held notification and its recipient as known when it was loaded."""

    held: Held
    user: User = User()
    user_version: int = 0
    """The version of the user's stream that told it."""


class Step(msgspec.Struct, frozen=True):
    """One command for one held notification."""

    subject: Subject
    command: Command

    @property
    def held(self) -> Held:
        return self.subject.held


class Advanced(msgspec.Struct, frozen=True):
    """The command was decided and its events, if any, are stored."""

    held: Held
    events: tuple[Event, ...]


class Refused(msgspec.Struct, frozen=True):
    """The lease has run out or the stream went on without us: nothing was stored."""

    why: str


Answer: TypeAlias = Advanced | Refused


class _Advance(msgspec.Struct):
    """What one commit stores."""

    envelopes: list[Envelope] = []
    advanced: list[Advanced] = []


def advance(log: Log, steps: Sequence[Step]) -> list[Answer]:
    """Decide and store the steps in one transaction, an answer each, in order.

    Raises LogUnavailable when the database is away: then nothing is known of any step.
    """
    with log.appending() as append:
        held = due_queue.held(append.cursor, [(step.held.notification, step.held.token) for step in steps])
        versions = append.versions([step.held.notification for step in steps])
        obstacles = _obstacles(append, steps)
        work = _Advance([], [])
        answers = [_decide(step, held, versions, obstacles, work) for step in steps]
        _store(append, work)
    return answers


def _decide(
    step: Step,
    held: set[UUID],
    versions: dict[UUID, int],
    obstacles: dict[UUID, Reason],
    work: _Advance,
) -> Answer:
    mine = step.held
    if mine.notification not in held:
        return Refused("the lease has run out")
    if versions[mine.notification] != mine.version:
        return Refused("the stream went on")
    command = step.command
    if isinstance(command, StartTransmission):
        command = replace(command, obstacle=obstacles.get(mine.notification))
    events = decide(mine.state, command)
    for number, event in enumerate(events, mine.version + 1):
        work.envelopes.append(_envelope(mine, number, event))
    after = replace(mine, state=fold(events, mine.state), version=mine.version + len(events))
    answer = Advanced(after, events)
    work.advanced.append(answer)
    return answer


def _envelope(mine: Held, version: int, event: Event) -> Envelope:
    request = mine.request
    return Envelope(
        instance=mine.instance,
        stream=mine.notification,
        version=version,
        subject=f"user/{request.user_id}" if request.user_id else request.source.subject,
        fact=event,
    )


def _store(append: Append, work: _Advance) -> None:
    append.write(work.envelopes, wake="progress")
    append.write(_write_backs(append, work.advanced), wake="progress")
    changed = [answer.held for answer in work.advanced if answer.events]
    rows = {
        held.notification: due_queue.due_row(held.notification, held.instance, held.state) for held in changed
    }
    due_queue.put(
        append.cursor,
        [row for answer in work.advanced if _postpones(answer) and (row := rows[answer.held.notification])],
    )
    closed = [held for held in changed if is_closed(held.state)]
    due_queue.remove(append.cursor, [held.notification for held in closed])
    secret_store.forget(append.cursor, [_cause(held) for held in closed])


def _postpones(answer: Advanced) -> bool:
    """Whether the row's time changes: an attempt going on keeps its row and its lease."""
    state = type(answer.held.state).__name__
    return bool(answer.events) and state in {"Waiting", "Parked"}


def _cause(held: Held) -> tuple[UUID, int]:
    source = held.request.source
    return identity.stream_id(held.instance, source.subject), source.version


# --- write-back -----------------------------------------------------------------------------------


def _write_backs(append: Append, advanced: Sequence[Advanced]) -> list[Envelope]:
    """A sent event on the source stream for each notification that was sent, at the stream's next version."""
    sent = [a.held for a in advanced for event in a.events if isinstance(event, NotificationSent)]
    if not sent:
        return []
    versions = append.versions([_cause(held)[0] for held in sent])
    envelopes = []
    for held in sent:
        stream, _ = _cause(held)
        versions[stream] += 1
        trigger = trigger_named(held.request.rule)
        if trigger is not None:
            envelopes.append(_write_back(held, trigger, stream, versions[stream]))
    return envelopes


def _write_back(held: Held, trigger: Trigger, stream: UUID, version: int) -> Envelope:
    request = held.request
    cause = {"version": request.source.version, "notification_id": str(held.notification)}
    code_id = (
        {"id": request.arguments["CodeID"]} if trigger.per_code_id and "CodeID" in request.arguments else {}
    )
    fact = SourceEvent(
        source="tidings",
        id=identity.write_back_id(held.notification, held.progress.cycle),
        type=trigger.sent_type,
        subject=request.source.subject,
        data={"cause": cause, "organisation_id": request.organisation_id} | code_id,
    )
    return Envelope(
        instance=held.instance,
        stream=stream,
        version=version,
        subject=request.source.subject,
        fact=fact,
        fingerprint=bytes(FINGERPRINT_BYTES),
    )


# --- the point of no return -----------------------------------------------------------------------


def _obstacles(append: Append, steps: Sequence[Step]) -> dict[UUID, Reason]:
    """What stands against those that are about to transmit, looked up under the append lock."""
    ready = [step for step in steps if isinstance(step.command, StartTransmission)]
    if not ready:
        return {}
    later = append.later_events(*what_matters([step.subject for step in ready]))
    found = {step.held.notification: stands_against(step.subject, later) for step in ready}
    return {notification: reason for notification, reason in found.items() if reason is not None}


def what_matters(subjects: Sequence[Subject]) -> tuple[list[tuple[UUID, int]], list[str]]:
    """The (stream, version) pairs and the topics to look at for events that make messages pointless."""
    since: list[tuple[UUID, int]] = []
    topics: set[str] = set()
    for subject in subjects:
        since.append(_cause(subject.held))
        topics |= LIFE_CYCLE
        trigger = trigger_named(subject.held.request.rule)
        topics |= _with_old_names(types_that_matter(trigger)) if trigger else set()
        user_id = subject.held.request.user_id
        if user_id:
            stream = identity.stream_id(subject.held.instance, f"user/{user_id}")
            since.append((stream, subject.user_version))
    return since, sorted(topics)


def stands_against(subject: Subject, later: dict[UUID, list[RecordedEvent]]) -> Reason | None:
    request = subject.held.request
    trigger = trigger_named(request.rule)
    if trigger is None:
        return None
    stream, version = _cause(subject.held)
    events = tuple(_understood(event) for event in later.get(stream, ()) if event.version > version)
    reason = obstacle(trigger, version, request.arguments.get("CodeID", ""), events)
    return reason or user_obstacle(trigger, _user_state(subject, later))


def _user_state(subject: Subject, later: dict[UUID, list[RecordedEvent]]) -> str:
    state = subject.user.state
    stream = identity.stream_id(subject.held.instance, f"user/{subject.held.request.user_id}")
    for event in later.get(stream, ()):
        _, fact = _understood(event)
        if event.version > subject.user_version and isinstance(fact, UserStateChanged) and state != "removed":
            state = fact.state
    return state


def _understood(event: RecordedEvent) -> tuple[str, Fact | None]:
    if not isinstance(event.fact, SourceEvent):
        return canonical_type(event.topic), None
    try:
        return canonical_type(event.topic), interpret(event.fact.type, event.fact.data)
    except InvalidData:
        return canonical_type(event.topic), None


def _with_old_names(types: frozenset[str]) -> set[str]:
    return set(types) | {name.replace("user.human.", "user.", 1) for name in types}
