"""What must be true of every finished schedule, said without asking the code that was to make it true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from benchmarks.simulated.life import lives
from benchmarks.simulated.record import Record, is_poison
from benchmarks.simulated.rules import RULES, speaks_for
from event_log.commands import Done
from event_log.due_queue import due_row
from event_log.envelope import RecordedEvent, SourceEvent
from event_log.notifications import fold_stream
from notification_domain.notification import Parked
from notification_domain.notification_events import NotificationDeclined, NotificationRequested, Reason
from notification_domain.recipients import evolve, initial
from notification_domain.source_events import InvalidData, interpret
from projections.recipients import load_known


def check(schedule: Any) -> list[str]:  # noqa: ANN401  # a finished schedule
    world = schedule.world
    if world.loop.complaints:
        return [f"nobody expected: {world.loop.complaints[0]}"]
    record = Record(world)
    found = [*_accepted(record, schedule), *_decided(record), *_set_aside(record), *_known(record)]
    found += [
        *lives(record),
        *_due(record),
        *_secrets(record),
        *_written_back(record),
        *_commands(record, schedule),
    ]
    return found


# --- nothing lost, nothing twice ------------------------------------------------------------------


def _accepted(record: Record, schedule: Any) -> Iterator[str]:  # noqa: ANN401
    told = {key: place for client in schedule.clients for key, place in client.told.items()}
    stored: Counter[tuple[str, str]] = Counter()
    for event in record.sources:
        if isinstance(event.fact, SourceEvent) and event.fact.source == "auth":
            key = (event.instance, event.fact.id)
            stored[key] += 1
            if told.get(key) != event.position:
                yield f"event {key} stands at {event.position}, and {told.get(key)} was told"
    for key in told:
        if stored[key] != 1:
            yield f"event {key} was accepted and is stored {stored[key]} times"


def _decided(record: Record) -> Iterator[str]:
    made: Counter[tuple[str, str, int, str]] = Counter(
        (event.instance, fact.source.subject, fact.source.version, fact.rule)
        for event, fact in record.decisions()
    )
    for event in record.sources:
        assert isinstance(event.fact, SourceEvent)
        key = (event.instance, event.fact.subject, event.version, event.topic)
        times = made.pop(key, 0)
        if event.topic not in RULES:
            continue
        if times != 1 and event.position not in record.quarantined:
            yield f"{key} was decided {times} times"
        if times and record.id_of(event, event.topic) not in record.notifications:
            yield f"the notification of {key} has an id that does not follow from its cause"
    for key in made:
        yield f"decided for nothing: {key}"
    for event, fact in record.decisions():
        if isinstance(fact, NotificationDeclined):
            yield from _declined(record, event, fact)


def _declined(record: Record, event: RecordedEvent, fact: NotificationDeclined) -> Iterator[str]:
    instance = event.instance
    cause = record.cause(instance, fact)
    assert isinstance(cause.fact, SourceEvent)
    seen = record.later(instance, fact, fact.position_seen + 1)
    later = {e.topic for e in seen}
    rule = RULES[fact.rule]
    match fact.reason:
        case Reason.CODE_RETURNED:
            justified = bool(cause.fact.data.get("code_returned"))
        case Reason.EXPIRED:
            expiry = timedelta(seconds=cause.fact.data.get("expiry", 0))
            justified = fact.decided_at >= cause.recorded_at + expiry
        case Reason.SUPERSEDED:
            justified = bool(later & rule.superseded) or any(
                speaks_for(rule, e, fact.source.version, "") for e in seen
            )
        case Reason.CODE_USED:
            justified = bool(later & rule.used)
        case Reason.USER_INACTIVE:
            # Other streams go on, above all while that of the trigger waits for its redrive.
            user = record.user_of(instance, fact, event.position)
            types = record.user_types(instance, user, event.position)
            places = [*range(cause.position + 1, event.position + 1)]
            places += record.poisoned_around(instance, fact, event.position)
            justified = bool({"user.locked", "user.removed", "user.deactivated"} & set(types)) or any(
                record.is_removed_around(instance, fact, place) for place in places
            )
        case _:
            justified = False
    if not justified:
        yield f"declined without cause: {fact.rule} {fact.reason}"


def _set_aside(record: Record) -> Iterator[str]:
    """What no code understands is on record with its reason, and so is all that came after it."""
    for events in record.subjects.values():
        poison = next((event for event in events if is_poison(event)), None)
        if poison is None or record.world.mended:
            yield from (
                f"{e.position} is still set aside" for e in events if e.position in record.quarantined
            )
            continue
        for event in events:
            reason = record.quarantined.get(event.position, "")
            if event.position >= poison.position and not reason:
                yield f"{event.position} was passed over without a record, behind poison"
            if event is poison and not reason.startswith("InvalidData"):
                yield f"poison at {event.position} is set aside for another reason: {reason}"


def _known(record: Record) -> Iterator[str]:
    """What the handler knows of people is what their events say."""
    with record.log.database.connection() as connection:
        known = load_known(record.log, connection.cursor(), record.subjects)
    for owner, events in record.subjects.items():
        state = blank = initial(owner[1])
        if blank is None or any(event.stream in record.frozen for event in events):
            continue
        for event in events:
            assert isinstance(event.fact, SourceEvent)
            try:
                fact = interpret(event.topic, event.fact.data)
            except InvalidData:
                continue
            state = evolve(state, fact) if fact is not None and state is not None else state
        found = known[owner].state if owner in known else blank
        if found != state:
            yield f"the handler knows {owner} as {found}, and not {state}"


# --- at rest --------------------------------------------------------------------------------------


def _due(record: Record) -> Iterator[str]:
    rows = dict(record.world.tables.due)
    for stream, events in record.notifications.items():
        state = fold_stream(events)
        expected = due_row(stream, events[0].instance, state)
        row = rows.pop(stream, None)
        if (expected is None) != (row is None):
            yield f"{stream} is {type(state).__name__} and {'has' if row else 'lacks'} its row"
        elif expected is not None and row is not None:
            yield from _same(expected, row)
            if not isinstance(state, Parked):
                yield f"{stream} is left {type(state).__name__}"
    for stray in rows:
        yield f"a due row of nothing: {stray}"


def _same(expected: Any, row: Any) -> Iterator[str]:  # noqa: ANN401  # two kinds of rows
    for column in expected.__struct_fields__[2:]:
        wanted, found = getattr(expected, column), getattr(row, column)
        if found != wanted:
            yield f"{expected.notification}: {column} is {found}, not {wanted}"


def _secrets(record: Record) -> Iterator[str]:
    tables = record.world.tables
    still_open = {(row.cause_stream, row.cause_version) for row in tables.due.values()}
    kept = {(secret.stream_id, secret.stream_version): secret for secret in tables.secrets.values()}
    decided = {(record.cause(e.instance, f).stream, f.source.version): (e, f) for e, f in record.decisions()}
    soon = tables.now() + timedelta(seconds=60)
    for cause in kept.keys() & decided.keys() - still_open:
        yield f"the code of {cause} is kept though nothing is open"
    for cause, row in (((r.cause_stream, r.cause_version), r) for r in tables.due.values()):
        event, fact = decided[cause]
        wanted = isinstance(fact, NotificationRequested) and fact.secret and cause not in kept
        if wanted and (fact.code_expires_at or event.recorded_at + timedelta(hours=71)) > soon:
            yield f"the code of {cause} is gone and its notification {row.notification_id} still open"


def _written_back(record: Record) -> Iterator[str]:
    back: dict[str, list[Any]] = {}
    for event in record.sources:
        assert isinstance(event.fact, SourceEvent)
        if event.fact.source == "tidings":
            back.setdefault(event.fact.data["cause"]["notification_id"], []).append(event)
    for stream, events in record.notifications.items():
        sent = [event for event in events if event.topic == "notification.sent"]
        told = back.pop(str(stream), [])
        if len(sent) != len(told):
            yield f"{stream} was sent {len(sent)} times and written back {len(told)} times"
            continue
        request: Any = events[0].fact
        for one, other in zip(sent, told, strict=True):
            right = (
                other.topic == RULES[request.rule].sent
                and other.fact.subject == request.source.subject
                and other.fact.data["cause"]["version"] == request.source.version
                and other.fact.data.get("id") == _code_id(request)
                and other.fact.data.get("generatorInfo") == _generator(request, one.fact)
                and other.instance == one.instance
                and other.recorded_at == one.recorded_at
                and other.position > one.position
            )
            if not right:
                yield f"the write-back of {stream} at {other.position} is not what it should be"
    for stray in back:
        yield f"written back for nothing: {stray}"


def _generator(request: NotificationRequested, sent: Any) -> dict[str, str] | None:  # noqa: ANN401  # the fact
    """Where somebody else has made the code."""
    if request.secret or not request.generator_id:
        return None
    return {"id": sent.provider, "verificationId": sent.provider_message_id}


def _code_id(request: NotificationRequested) -> str | None:
    """Where a rule tells its codes apart by their ids."""
    return request.arguments.get("CodeID") if RULES[request.rule].by_code_id else None


def _commands(record: Record, schedule: Any) -> Iterator[str]:  # noqa: ANN401
    for command, notification, answer in schedule.operator.told:
        if not isinstance(answer, Done) or answer.repeated:
            continue
        wanted = {"cancel": {"notification.cancelled"}, "resend": {"notification.resend.requested"}}.get(
            command, {"notification.sent", "notification.resend.requested", "notification.cancelled"}
        )
        if not wanted & {event.topic for event in record.notifications[notification]}:
            yield f"{command} of {notification} was answered and is not recorded"
