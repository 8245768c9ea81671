"""Intake: what callers append, once for ever, many batches a commit.

Appending the same event twice is one event; the same id with another body is refused. A caller's batch
is stored whole or not at all, and one caller's stale batch never aborts another's.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

import msgspec

from event_log.envelope import Envelope, SourceEvent
from event_log.failpoints import failpoint
from event_log.group_commit import GroupCommit
from event_log.log import Append, Log
from event_log.mapper import fingerprint_of
from event_log.secret_store import KeptSecret, keep, seal_secret
from event_log.sql import load
from notification_domain import identity
from notification_domain.secret_fields import Secret, split
from notification_domain.source_events import CodeAdded, InvalidData, interpret

_queries = load("event_log", "intake.sql")

CODE_KEPT = timedelta(hours=72)
"""How long a code without an expiry of its own is kept."""
MAX_GROUP = 2000
"""Events in one commit, unless a single batch is larger."""

_canonical = msgspec.json.Encoder(order="deterministic").encode


class CallerEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A validated event of a caller; ``data`` still holds its secrets."""

    source: str
    id: str
    type: str
    subject: str
    data: dict[str, Any] = {}
    time: datetime | None = None
    extensions: dict[str, str] = {}
    secret_fields: tuple[str, ...] = ()
    """Top-level fields of ``data`` the caller declared secret."""
    expected_version: int | None = None


class Appended(msgspec.Struct, frozen=True):
    id: str
    position: int
    duplicate: bool


class OtherBody(msgspec.Struct, frozen=True):
    """The source and id were used before, for something else."""

    index: int
    id: str


class VersionConflict(msgspec.Struct, frozen=True):
    index: int
    subject: str
    expected: int
    current: int


BatchAnswer: TypeAlias = tuple[Appended, ...] | OtherBody | VersionConflict


class _Prepared(msgspec.Struct, frozen=True):
    """An event with all that can be worked out before the append lock is held."""

    event_id: UUID
    stream: UUID
    fingerprint: bytes
    fact: SourceEvent
    secrets: tuple[tuple[UUID, bytes], ...]
    secrets_kept: timedelta | None
    expected_version: int | None


class Batch(msgspec.Struct, frozen=True, gc=False):
    """A caller's events, ready to be committed."""

    instance: str
    events: tuple[_Prepared, ...]


class Intake:
    """Takes batches from many threads and commits what has gathered together."""

    def __init__(self, log: Log, *, max_waiting: int = 2000) -> None:
        self._log = log
        self._group: GroupCommit[Batch, BatchAnswer] = GroupCommit(
            lambda batches: _commit(log, batches),
            name="intake",
            max_waiting=max_waiting,
            max_weight=MAX_GROUP,
            weigh=lambda batch: len(batch.events),
        )

    def submit(self, instance: str, events: Sequence[CallerEvent]) -> Future[BatchAnswer]:
        """As ``commit``, for threads."""
        return self._group.submit(self.prepare(instance, events))

    def prepare(self, instance: str, events: Sequence[CallerEvent]) -> Batch:
        """All that can be worked out before the commit; in any thread."""
        return Batch(instance, tuple([_prepare(self._log, instance, event) for event in events]))

    async def commit(self, batch: Batch) -> BatchAnswer:
        """The answer comes after the commit, which happens even if nobody waits for it any more.

        Raises Overloaded at once when too much is waiting, and LogUnavailable when the database is away:
        then nothing is known to be stored, and the same batch may be committed again.
        """
        return await self._group.commit(batch)

    def close(self) -> None:
        self._group.close()


def append(log: Log, instance: str, events: Sequence[CallerEvent]) -> BatchAnswer:
    """Append one batch in a transaction of its own."""
    prepared = tuple([_prepare(log, instance, event) for event in events])
    return _commit(log, [Batch(instance, prepared)])[0]


def ensure_instance(log: Log, instance: str) -> bool:
    """Open an instance's own stream if nobody has; whether it was new."""
    answer = append(
        log,
        instance,
        [
            CallerEvent(
                source="tidings",
                id="instance",
                type="instance.added",
                subject="instance",
                data={"name": instance},
            )
        ],
    )
    return isinstance(answer, tuple) and not answer[0].duplicate


def _prepare(log: Log, instance: str, event: CallerEvent) -> _Prepared:
    event_id = identity.event_id(instance, event.source, event.id)
    data, secrets = split(event_id, event.type, event.data, event.secret_fields)
    return _Prepared(
        event_id=event_id,
        stream=identity.stream_id(instance, event.subject),
        fingerprint=_fingerprint(log.fingerprint_key, event),
        fact=SourceEvent(
            source=event.source,
            id=event.id,
            type=event.type,
            subject=event.subject,
            time=event.time,
            data=data,
            extensions=event.extensions,
        ),
        secrets=tuple((s.id, seal_secret(log.secret_seal, s.id, s.value)) for s in secrets),
        secrets_kept=_lifetime(event, secrets),
        expected_version=event.expected_version,
    )


def _fingerprint(key: bytes, event: CallerEvent) -> bytes:
    """What makes two events the same: type, subject, time and data, but no tracing extension."""
    time = event.time.astimezone(UTC).isoformat() if event.time else None
    return hmac.digest(key, _canonical((event.type, event.subject, time, event.data)), "sha256")


def _lifetime(event: CallerEvent, secrets: Sequence[Secret]) -> timedelta | None:
    """How long its secrets are kept; None is for ever, or that there are none."""
    if not secrets or any(secret.lasting for secret in secrets):
        return None
    try:
        fact = interpret(event.type, event.data)
    except InvalidData:
        fact = None
    seconds = fact.expiry if isinstance(fact, CodeAdded) else 0
    return timedelta(seconds=seconds) if seconds else CODE_KEPT


class _Known(msgspec.Struct):
    fingerprint: bytes
    position: int | None
    """None: planned in this very commit."""


class _Plan(msgspec.Struct):
    """What one commit will write, and what it must know to decide."""

    known: dict[UUID, _Known]
    versions: dict[UUID, int]
    envelopes: list[Envelope] = []
    secrets: list[tuple[_Prepared, str, int]] = []


def _commit(log: Log, batches: Sequence[Batch]) -> list[BatchAnswer]:
    with log.appending() as append:
        failpoint("intake.locked")
        plan = _look_up(append, batches)
        answers = [_admit(plan, batch) for batch in batches]
        append.write(plan.envelopes, wake="source")
        positions = append.written() if plan.envelopes else []
        _keep_secrets(append, plan)
        failpoint("intake.before_commit")
    failpoint("intake.after_commit")
    by_event = {e.event_id: p for e, p in zip(plan.envelopes, positions, strict=True) if e.event_id}
    return [_answer(batch, answer, plan, by_event) for batch, answer in zip(batches, answers, strict=True)]


def _look_up(append: Append, batches: Sequence[Batch]) -> _Plan:
    """Which of the events are known, and the versions of their streams, by one statement."""
    events = [event for batch in batches for event in batch.events]
    wanted = {
        "event_ids": list({event.event_id for event in events}),
        "streams": list({event.stream for event in events}),
    }
    append.cursor.execute(_queries.look_up, wanted, prepare=True)
    plan = _Plan({}, {}, [], [])
    for found, number, header in append.cursor.fetchall():
        if header is None:
            plan.versions[found] = number
        else:
            plan.known[found] = _Known(fingerprint_of(bytes(header)), number)
    return plan


def _admit(plan: _Plan, batch: Batch) -> OtherBody | VersionConflict | frozenset[UUID]:
    """Plan a batch whole, or say what stands against it; the ids that are new."""
    fresh: dict[UUID, _Prepared] = {}
    versions: dict[UUID, int] = {}
    for index, event in enumerate(batch.events):
        seen = plan.known.get(event.event_id)
        before = (
            seen.fingerprint
            if seen
            else fresh[event.event_id].fingerprint
            if event.event_id in fresh
            else None
        )
        if before is not None:
            if before != event.fingerprint:
                return OtherBody(index, event.fact.id)
            continue
        current = versions.get(event.stream, plan.versions[event.stream])
        if event.expected_version not in (None, current):
            return VersionConflict(index, event.fact.subject, event.expected_version or 0, current)
        versions[event.stream] = current + 1
        fresh[event.event_id] = event
    _add(plan, batch.instance, fresh.values())
    return frozenset(fresh)


def _add(plan: _Plan, instance: str, events: Any) -> None:  # noqa: ANN401  # dict values are no Sequence
    for event in events:
        version = plan.versions[event.stream] + 1
        plan.versions[event.stream] = version
        plan.known[event.event_id] = _Known(event.fingerprint, None)
        plan.envelopes.append(
            Envelope(
                instance=instance,
                stream=event.stream,
                version=version,
                subject=event.fact.subject,
                fact=event.fact,
                event_id=event.event_id,
                fingerprint=event.fingerprint,
            )
        )
        if event.secrets:
            plan.secrets.append((event, instance, version))


def _keep_secrets(append: Append, plan: _Plan) -> None:
    if not plan.secrets:
        return
    append.cursor.execute(_queries.now, prepare=True)
    row = append.cursor.fetchone()
    assert row
    keep(
        append.cursor,
        [
            KeptSecret(secret_id, instance, event.stream, version, sealed, _expiry(event, row[0]))
            for event, instance, version in plan.secrets
            for secret_id, sealed in event.secrets
        ],
    )


def _expiry(event: _Prepared, recorded_at: datetime) -> datetime | None:
    if event.secrets_kept is None:
        return None
    happened_at = min(event.fact.time, recorded_at) if event.fact.time else recorded_at
    return happened_at + event.secrets_kept


def _answer(
    batch: Batch,
    answer: OtherBody | VersionConflict | frozenset[UUID],
    plan: _Plan,
    by_event: dict[UUID, int],
) -> BatchAnswer:
    if isinstance(answer, OtherBody | VersionConflict):
        return answer
    told: set[UUID] = set()
    appended = []
    for event in batch.events:
        position = plan.known[event.event_id].position
        new = event.event_id in answer and event.event_id not in told
        told.add(event.event_id)
        appended.append(
            Appended(event.fact.id, by_event[event.event_id] if position is None else position, not new)
        )
    return tuple(appended)
