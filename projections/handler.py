"""The handler: reads the log in order and decides, once for each trigger event and rule.

One transaction a batch holds the new notification streams, their due rows, the recipients learned and
the tracking position. It begins streams and never appends to one that exists.
"""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import msgspec
from psycopg import Cursor

from event_log import due_queue, secret_store
from event_log.due_queue import DueRow
from event_log.envelope import Envelope, RecordedEvent, SourceEvent
from event_log.errors import Undecodable
from event_log.failpoints import failpoint
from event_log.keyring import Owner
from event_log.log import Append, Log, read_after, versions
from event_log.notifications import key_subject
from event_log.recorder import Columns
from event_log.topics import RESERVED
from notification_domain import identity
from notification_domain.notification import Open, decide, fold
from notification_domain.notification_events import Event as NotificationEvent
from notification_domain.notification_events import NotificationDeclined, Source
from notification_domain.policies import Decision, Deployment, Occasion, react
from notification_domain.recipients import Instance, Organisation, Session, User, initial, tells
from notification_domain.source_events import (
    CodeAdded,
    Fact,
    SessionUserChecked,
    canonical_type,
    interpret,
)
from notification_domain.triggers import Trigger, trigger_of
from projections import quarantine, tracking
from projections.overtaking import overtakes
from projections.quarantine import Poison
from projections.recipients import (
    Damaged,
    Knowledge,
    Known,
    learn,
    load_readable,
    pointed_at,
    save_known,
)

_logger = logging.getLogger(__name__)

NAME = "handler"
BATCH = 500

Clock: TypeAlias = Callable[[], datetime]
T = TypeVar("T")
S = TypeVar("S", User, Session, Organisation, Instance)


class _Read(msgspec.Struct, frozen=True, gc=False):
    """A source event of the batch, understood as far as we can."""

    event: RecordedEvent
    source: SourceEvent
    canonical: str
    fact: Fact | None


class Outcome(msgspec.Struct):
    """What a batch comes to, on its way to being stored."""

    decisions: list[tuple[_Read, Decision]] = []
    learned: Knowledge = {}
    poisons: list[Poison] = []
    frozen: dict[UUID, int] = {}
    """Streams that wait for a person, and the position up to which they were still understood."""


class Openings(msgspec.Struct, frozen=True):
    """New notifications: their first events, perhaps sealed already, and their due rows."""

    events: Sequence[Envelope]
    rows: Sequence[DueRow]
    sealed: Columns | None


def handle_batch(log: Log, clock: Clock, deployment: Deployment, *, batch: int = BATCH) -> int:
    """Take the next batch; how many events it moved over. Raises LostRace when another handler did."""
    with log.database.connection() as connection:
        cursor = connection.cursor(binary=True)
        since = tracking.position(cursor, NAME)
        page = read_after(log, cursor, since, batch, ours=False, callers=True)
        if not page.events:
            if page.passed:
                tracking.advance(cursor, NAME, since, page.reached)
            return page.passed
        failpoint("handler.read")
        frozen = quarantine.frozen(cursor, NAME, (event.stream for event in page.events))
        outcome = consider(log, cursor, page.events, frozen, clock(), deployment)
        opening = openings(log, cursor, outcome)
        failpoint("handler.decided")
        with log.turn(connection) as append:
            tracking.advance(append.cursor, NAME, since, page.reached)
            quarantine.check_still_frozen(append.cursor, NAME, frozen)
            store(append, outcome, opening, page.events, clock())
            failpoint("handler.before_commit")
    failpoint("handler.after_commit")
    return page.passed


def consider(
    log: Log,
    cursor: Cursor[Any],
    events: Sequence[RecordedEvent],
    frozen: Collection[UUID],
    now: datetime,
    deployment: Deployment,
) -> Outcome:
    """What these events come to; those of ``frozen`` streams are set aside unread."""
    outcome = Outcome([], {}, [], dict.fromkeys(frozen, 0))
    reads = _understand(events, outcome)
    knowledge, damaged = _look_up(log, cursor, reads)
    to_come: dict[UUID, deque[_Read]] = defaultdict(deque)
    for read in reads:
        to_come[read.event.stream].append(read)

    def take_in(read: _Read, later: Iterable[_Read]) -> None:
        if not _bears_on_anyone(read):
            return
        _refuse_damaged(read, knowledge, damaged)
        _learn(outcome, knowledge, read)
        trigger = trigger_of(read.source.type)
        if trigger is not None:
            occasion = _occasion(trigger, read, later, knowledge, now, events[-1].position)
            outcome.decisions.append((read, react(occasion, deployment)))

    for read in reads:
        later = to_come[read.event.stream]
        later.popleft()
        if read.fact is not None:
            _guarded(outcome, read.event, partial(take_in, read, later))
    return outcome


def _understand(events: Sequence[RecordedEvent], outcome: Outcome) -> list[_Read]:
    callers = [event for event in events if not event.topic.startswith(RESERVED)]
    reads = [_guarded(outcome, event, partial(_read, event)) for event in callers]
    return [read for read in reads if read is not None]


def _guarded(outcome: Outcome, event: RecordedEvent, work: Callable[[], T]) -> T | None:
    """What ``work`` gives, or None after setting the event aside: it must not stop the others."""
    if outcome.frozen and outcome.frozen.get(event.stream, event.position) < event.position:
        outcome.poisons.append(Poison(event, "an earlier event of its stream is quarantined"))
        return None
    try:
        return work()
    except Exception as error:  # noqa: BLE001  # whatever it is
        _logger.error("event %s is quarantined: %s", event.position, error)  # noqa: TRY400  # says all
        outcome.poisons.append(Poison(event, f"{type(error).__name__}: {error}"))
        outcome.frozen[event.stream] = event.position
        return None


def _read(event: RecordedEvent) -> _Read:
    if isinstance(event.fact, Undecodable):
        raise event.fact
    assert isinstance(event.fact, SourceEvent)
    source = event.fact
    return _Read(event, source, canonical_type(source.type), interpret(source.type, source.data))


def _look_up(log: Log, cursor: Cursor[Any], reads: Iterable[_Read]) -> tuple[Knowledge, Damaged]:
    """What is known of everyone this batch concerns, following sessions to users to organisations."""
    wanted: set[Owner] = set()
    for read in reads:
        if _bears_on_anyone(read):
            wanted |= {(read.event.instance, subject) for subject in _concerned(read)}
    knowledge: Knowledge = {}
    damaged: Damaged = {}
    while missing := wanted - knowledge.keys() - damaged.keys():
        found, altered = load_readable(log, cursor, missing)
        damaged |= altered
        for instance, subject in missing - altered.keys():
            blank = initial(subject)
            if blank is None:
                wanted.discard((instance, subject))
                continue
            known = found.get((instance, subject), Known(0, blank))
            knowledge[instance, subject] = known
            wanted |= {(instance, pointed) for pointed in pointed_at(known)}
    return knowledge, damaged


def _refuse_damaged(read: _Read, knowledge: Knowledge, damaged: Damaged) -> None:
    """Raises Undecodable when what was known of anybody it concerns was altered."""
    instance, subjects = read.event.instance, _concerned(read)
    for _ in range(2 if damaged else 0):  # from a session to its user, and on to the organisation
        known = [knowledge[instance, one] for one in subjects if (instance, one) in knowledge]
        subjects = subjects.union(*map(pointed_at, known))
    for owner in {(instance, one) for one in subjects} & damaged.keys():
        raise damaged[owner]


def _bears_on_anyone(read: _Read) -> bool:
    """Whether what is known of people is needed to take it in: not for what only tells of a sending."""
    return read.fact is not None and tells(read.fact)


def _concerned(read: _Read) -> set[str]:
    subjects = {read.source.subject, "instance"}
    if isinstance(read.fact, CodeAdded | SessionUserChecked) and read.fact.user_id:
        subjects.add(f"user/{read.fact.user_id}")
    if read.fact is not None and read.fact.organisation_id:
        subjects.add(f"organisation/{read.fact.organisation_id}")
    return subjects


def _learn(outcome: Outcome, knowledge: Knowledge, read: _Read) -> None:
    owner = (read.event.instance, read.source.subject)
    before = knowledge.get(owner)
    if before is None or read.fact is None:
        return
    after = learn(before, read.event.version, read.fact)
    if after is not before:
        knowledge[owner] = outcome.learned[owner] = after


def _occasion(  # what an occasion is made of
    trigger: Trigger,
    read: _Read,
    later: Iterable[_Read],
    knowledge: Knowledge,
    now: datetime,
    position_seen: int,
) -> Occasion:
    instance, subject = read.event.instance, read.source.subject
    assert read.fact is not None
    session = _known(knowledge, instance, subject, Session)
    stated = read.fact.user_id if isinstance(read.fact, CodeAdded) else ""
    whose = subject if subject.startswith("user/") else f"user/{session.user_id or stated}"
    user = _known(knowledge, instance, whose, User)
    organisation_id = read.fact.organisation_id or session.organisation_id or user.organisation_id
    return Occasion(
        trigger=trigger,
        source=Source(subject, read.event.version, read.source.source, read.source.id, read.source.type),
        fact=read.fact,
        happened_at=_happened_at(read),
        now=now,
        position_seen=position_seen,
        later=tuple((other.canonical, other.fact) for other in later),
        user=user,
        session=session,
        organisation=_known(knowledge, instance, f"organisation/{organisation_id}", Organisation),
        instance=_known(knowledge, instance, "instance", Instance),
    )


def _known(knowledge: Knowledge, instance: str, subject: str, kind: type[S]) -> S:
    """What is known of a subject; blank when that is nothing, or when it is a subject of another kind."""
    known = knowledge.get((instance, subject))
    return known.state if known is not None and isinstance(known.state, kind) else kind()


def _happened_at(read: _Read) -> datetime:
    recorded_at = read.event.recorded_at
    return min(read.source.time, recorded_at) if read.source.time else recorded_at


def openings(log: Log, cursor: Cursor[Any], outcome: Outcome) -> Openings:
    """The notifications to begin, as they will be stored, worked out before the append lock is had.

    Should another handler begin one meanwhile, storing them is a lost race.
    """
    envelopes = [_envelope(read, decision) for read, decision in outcome.decisions]
    # A handler that starts over meets its own decisions: they stand, nothing is decided twice.
    decided = versions(cursor, [envelope.stream for envelope in envelopes]) if envelopes else {}
    fresh = [envelope for envelope in envelopes if not decided[envelope.stream]]
    return Openings(fresh, _due_rows(fresh), log.sealed(cursor, fresh))


def store(
    append: Append, outcome: Outcome, opening: Openings, events: Sequence[RecordedEvent], now: datetime
) -> None:
    """All that follows from ``events``, in one transaction."""
    append.write(opening.events, sealed=opening.sealed, wake="due")
    due_queue.put(append.cursor, opening.rows)
    due_queue.pull_forward(append.cursor, [row for event in events for row in overtakes(event)])
    save_known(append.log, append.cursor, outcome.learned)
    quarantine.set_aside(append.cursor, NAME, outcome.poisons, now)
    secret_store.forget(append.cursor, _declined_causes(outcome))


def _envelope(read: _Read, decision: Decision) -> Envelope:
    instance, cause = (
        read.event.instance,
        identity.event_id(read.event.instance, read.source.source, read.source.id),
    )
    (fact,) = decide(fold([]), Open(decision))
    return Envelope(
        instance=instance,
        stream=identity.notification_id(instance, cause, decision.rule),
        version=1,
        subject=key_subject(decision),
        fact=fact,
    )


def _due_rows(envelopes: Sequence[Envelope]) -> list[DueRow]:
    rows = []
    for envelope in envelopes:
        assert isinstance(envelope.fact, NotificationEvent)
        row = due_queue.due_row(envelope.stream, envelope.instance, fold([envelope.fact]))
        if row is not None:
            rows.append(row)
    return rows


def _declined_causes(outcome: Outcome) -> list[tuple[UUID, int]]:
    return [
        (read.event.stream, read.event.version)
        for read, decision in outcome.decisions
        if isinstance(decision, NotificationDeclined)
    ]
