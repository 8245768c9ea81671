"""The model of the log, its keys, secrets and read models does what PostgreSQL does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest

from benchmarks.simulated.model import BY_TEXT, NOT_MODELLED, ModelCursor
from event_log import delivery_pauses, due_queue, notifications, secret_store
from event_log.due_queue import NEVER, DueRow
from event_log.envelope import Envelope, RecordedEvent, SourceEvent
from event_log.errors import LogUnavailable, LostRace
from event_log.intake import Appended, CallerEvent, OtherBody, VersionConflict, append
from event_log.log import head, read_after, read_stream, read_streams
from event_log.secret_store import KeptSecret
from event_log.sql import load
from notification_domain.identity import stream_id
from notification_domain.notification_events import TransmissionStarted
from notification_domain.recipients import User
from projections import quarantine, tracking
from projections.quarantine import Poison
from projections.recipients import Known, load_known, save_known
from tests.claims import claim
from tests.simulation.conftest import Place

ANN = stream_id("acme", "user/ann")
CAUSE = UUID(int=77)
LEASE = timedelta(minutes=5)


def event(number: int, subject: str = "user/ann", **changes: Any) -> CallerEvent:
    fields: dict[str, Any] = {
        "source": "auth",
        "id": str(number),
        "type": "thing.happened",
        "subject": subject,
    }
    return CallerEvent(**(fields | {"data": {"n": number}} | changes))


def ours(stream: int, version: int) -> Envelope:
    fact = TransmissionStarted(version)
    return Envelope(instance="acme", stream=UUID(int=stream), version=version, subject="user/ann", fact=fact)


def tell(place: Place, *events: CallerEvent) -> Any:
    return append(place.log, "acme", events)


def numbers(events: Sequence[RecordedEvent]) -> list[tuple[int, int]]:
    return [(event.position, event.version) for event in events]


def statement(name: str) -> Any:
    place, _, of = name.partition(":")
    package, file = place.split("/")
    return getattr(load(package, file), of)


# --- the log --------------------------------------------------------------------------------------


def test_events_are_read_back_as_they_were_appended(place: Place) -> None:
    answer = tell(place, event(1), event(2, "user/bob"), event(3))
    assert [(a.duplicate, a.position - answer[0].position) for a in answer] == [
        (False, 0),
        (False, 1),
        (False, 2),
    ]
    events = read_stream(place.log, ANN)
    assert [e.version for e in events] == [1, 2]
    assert [e.fact.data for e in events if isinstance(e.fact, SourceEvent)] == [{"n": 1}, {"n": 3}]


def test_the_same_event_is_one_and_another_body_is_refused(place: Place) -> None:
    (first,) = tell(place, event(1))
    assert tell(place, event(1)) == (Appended("1", first.position, duplicate=True),)
    assert tell(place, event(2), event(1, data={"n": 9})) == OtherBody(1, "1")
    assert len(read_stream(place.log, ANN)) == 1


def test_a_stale_version_is_refused(place: Place) -> None:
    tell(place, event(1))
    assert tell(place, event(2, expected_version=0)) == VersionConflict(0, "user/ann", 0, 1)
    assert isinstance(tell(place, event(2, expected_version=1)), tuple)


def test_a_taken_version_is_a_lost_race_and_nothing_is_stored(place: Place) -> None:
    with place.log.appending() as transaction:
        transaction.write([ours(1, 1)], wake="due")
    with pytest.raises(LostRace), place.log.appending() as transaction:  # noqa: PT012  # one transaction
        transaction.write([ours(2, 1)], wake="due")
        transaction.write([ours(1, 1)], wake="due")
    assert read_stream(place.log, UUID(int=2)) == []


def test_a_failed_transaction_leaves_nothing_but_a_gap(place: Place) -> None:
    (first,) = tell(place, event(1))
    with pytest.raises(ZeroDivisionError), place.log.appending() as transaction:  # noqa: PT012
        transaction.write([ours(1, 1)], wake="due")
        due_queue.put(transaction.cursor, [due_row(1, place)])
        raise ZeroDivisionError
    (second,) = tell(place, event(2))
    assert second.position == first.position + 2
    with place.log.database.connection() as connection:
        assert due_queue.next_due(connection.cursor()) is None


def test_who_waits_too_long_for_the_append_lock_is_told_so(place: Place) -> None:
    with place.log.appending(), pytest.raises(LogUnavailable), place.log.appending():
        pass
    assert isinstance(tell(place, event(1)), tuple)


def test_versions_and_what_followed_are_those_of_the_streams_asked_for(place: Place) -> None:
    tell(place, event(1), event(2, type="thing.changed"), event(3), event(4, "user/bob"))
    with place.log.appending() as transaction:
        assert transaction.versions([ANN, UUID(int=9)]) == {ANN: 3, UUID(int=9): 0}
        cursor, known = transaction.cursor, {ANN: 1, UUID(int=9): 0}
        topics = ["thing.changed", "thing.happened"]
        later, frozen = quarantine.since(place.log, cursor, "p", known, topics)
        assert {stream: [e.version for e in events] for stream, events in later.items()} == {ANN: [2, 3]}
        assert frozen == set()
        assert quarantine.since(place.log, cursor, "p", {ANN: 0}, ["thing.else"]) == ({}, set())


def test_readers_follow_positions_and_see_only_their_kind(place: Place) -> None:
    (first, _) = tell(place, event(1), event(2))
    with place.log.appending() as transaction:
        transaction.write([ours(1, 1)], wake="due")
    with place.log.database.connection() as connection:
        cursor = connection.cursor()
        mine = read_after(place.log, cursor, first.position, 10, ours=True, callers=False)
        assert [event.position - first.position for event in mine.events] == [2]
        assert (mine.reached - first.position, mine.passed) == (2, 2)
        theirs = read_after(place.log, cursor, 0, 2, ours=False, callers=True)
        assert [isinstance(event.fact, SourceEvent) for event in theirs.events] == [True, True]
        assert (theirs.reached - first.position, theirs.passed) == (1, 2)
        assert head(cursor)[0] == first.position + 2


def test_readers_pass_over_what_is_not_of_their_kind(place: Place) -> None:
    (first,) = tell(place, event(1))
    with place.log.appending() as transaction:
        transaction.write([ours(1, 1), ours(2, 1)], wake="due")
    with place.log.database.connection() as connection:
        cursor = connection.cursor()
        others = read_after(place.log, cursor, first.position, 1, ours=False, callers=True)
        assert (others.events, others.reached - first.position, others.passed) == ([], 1, 1)
        theirs = read_after(place.log, cursor, 0, 9, ours=False, callers=True)
        assert [event.position for event in theirs.events] == [first.position]
        assert (theirs.reached - first.position, theirs.passed) == (2, 3)
        nothing = read_after(place.log, cursor, theirs.reached, 9, ours=True, callers=True)
        assert (nothing.events, nothing.reached, nothing.passed) == ([], theirs.reached, 0)


def test_streams_come_whole_and_in_order(place: Place) -> None:
    with place.log.appending() as transaction:
        transaction.write([ours(1, 1), ours(2, 1), ours(1, 2)], wake="due")
    found = read_streams(place.log, [UUID(int=1), UUID(int=2), UUID(int=3)])
    assert {stream: [e.version for e in events] for stream, events in found.items()} == {
        UUID(int=1): [1, 2],
        UUID(int=2): [1],
    }


# --- keys and secrets -----------------------------------------------------------------------------


def test_an_owner_has_one_key(place: Place) -> None:
    keyring = place.log.keyring
    with place.log.appending() as transaction:
        made = keyring.for_writing(transaction.cursor, [("acme", "user/ann")])
    with place.log.appending() as transaction:
        again = keyring.for_writing(transaction.cursor, [("acme", "user/ann"), ("beta", "user/ann")])
        key_id = made["acme", "user/ann"][0]
        assert again["acme", "user/ann"][0] == key_id != again["beta", "user/ann"][0]
        assert set(keyring.for_reading(transaction.cursor, [key_id, bytes(16)])) == {key_id}


def test_a_second_key_for_an_owner_is_refused(place: Place) -> None:
    fields = {"instances": ["acme"], "subjects": ["user/x"], "wrapped_keys": [b"k"]}
    insert = statement("event_log/keyring.sql:insert_keys")
    with place.log.database.connection() as connection:
        connection.cursor().execute(insert, fields | {"key_ids": [UUID(int=1)]})
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.cursor().execute(insert, fields | {"key_ids": [UUID(int=2)]})


def secret(number: int, place: Place, expires: float | None, version: int = 1) -> KeptSecret:
    secret_id = UUID(int=number)
    sealed = secret_store.seal_secret(place.log.secret_seal, secret_id, f"code {number}")
    expiry = None if expires is None else place.now() + timedelta(seconds=expires)
    return KeptSecret(secret_id, "acme", CAUSE, version, sealed, expiry)


def due_row(number: int, place: Place, version: int = 1) -> DueRow:
    now = place.now()
    return DueRow(
        notification=UUID(int=number),
        instance="acme",
        channel="email",
        priority=0,
        not_before=now,
        expires_at=now,
        cause_stream=CAUSE,
        cause_version=version,
        supersede_key="",
    )


def kept(place: Place, *numbers: int) -> list[int]:
    with place.log.database.connection() as connection:
        references = [f"secret:{UUID(int=number)}" for number in numbers]
        found = secret_store.reveal(connection.cursor(), place.log.secret_seal, references)
    assert all(value.startswith("code ") for value in found.values())
    return sorted(UUID(reference.removeprefix("secret:")).int for reference in found)


def test_closing_takes_the_rows_and_the_codes_that_nothing_open_needs(place: Place) -> None:
    with place.log.appending() as transaction:
        secret_store.keep(
            transaction.cursor, [secret(1, place, 60), secret(2, place, None), secret(3, place, 60, 2)]
        )
        due_queue.put(transaction.cursor, [due_row(1, place), due_row(2, place), due_row(3, place, 2)])
        notifications.close(transaction.cursor, [UUID(int=1), UUID(int=9)])
    assert kept(place, 1, 2, 3) == [1, 2, 3]
    with place.log.appending() as transaction:
        notifications.close(transaction.cursor, [UUID(int=2), UUID(int=3)])
    assert kept(place, 1, 2, 3) == [2]
    with place.log.database.connection() as connection:
        assert due_queue.next_due(connection.cursor()) is None


def test_a_held_lease_tells_how_far_its_streams_have_come(place: Place) -> None:
    (first, second) = (msgspec.structs.replace(due_row(n, place), cause_stream=ANN) for n in (1, 2))
    tell(place, event(1), event(2))
    with place.log.appending() as transaction:
        transaction.write([ours(1, 1), ours(2, 1), ours(1, 2)], wake="due")
        due_queue.put(transaction.cursor, [first, second])
    with place.log.database.connection() as connection:
        claims = claim(connection.cursor(), place.now(), lease=LEASE)
        shown = sorted((claim.notification, claim.token) for claim in claims)
        found = due_queue.held(connection.cursor(), shown, [True, False])
        last, _ = head(connection.cursor())
    told = [(lease.runs, lease.version, lease.cause_version, lease.position) for lease in found.values()]
    assert dict(zip(found, told, strict=True)) == {shown[0]: (True, 2, 2, last), shown[1]: (True, 1, 0, last)}
    for lease in found.values():
        rest = lease.until + due_queue.FENCE_MARGIN - place.now()
        assert LEASE - timedelta(seconds=30) < rest <= LEASE


def test_a_code_stays_while_something_of_its_event_is_open(place: Place) -> None:
    with place.log.appending() as transaction:
        secret_store.keep(
            transaction.cursor, [secret(1, place, 60), secret(2, place, None), secret(3, place, 60, 2)]
        )
        due_queue.put(transaction.cursor, [due_row(1, place)])
        secret_store.forget(transaction.cursor, [(CAUSE, 1)])
    assert kept(place, 1, 2, 3, 4) == [1, 2, 3]
    with place.log.appending() as transaction:
        due_queue.remove(transaction.cursor, [UUID(int=1)])
        secret_store.forget(transaction.cursor, [(CAUSE, 1)])
    assert kept(place, 1, 2, 3) == [2, 3]


def test_expired_codes_are_removed_the_oldest_first(place: Place) -> None:
    with place.log.appending() as transaction:
        secret_store.keep(
            transaction.cursor, [secret(n, place, s) for n, s in ((1, -1), (2, -5), (3, 60), (4, None))]
        )
    with place.log.database.connection() as connection:
        cursor = connection.cursor()
        assert secret_store.is_kept(cursor, f"secret:{UUID(int=3)}", place.now())
        assert not secret_store.is_kept(cursor, f"secret:{UUID(int=1)}", place.now())
        assert not secret_store.is_kept(cursor, f"secret:{UUID(int=9)}", place.now())
        assert secret_store.forget_expired(cursor, place.now(), limit=1) == 1
        assert kept(place, 1, 2, 3, 4) == [1, 3, 4]
        assert secret_store.forget_expired(cursor, place.now()) == 1
    assert kept(place, 1, 2, 3, 4) == [3, 4]


def test_a_secret_is_kept_once(place: Place) -> None:
    with place.log.database.connection() as connection:
        secret_store.keep(connection.cursor(), [secret(1, place, 60)])
        with pytest.raises(psycopg.errors.UniqueViolation):
            secret_store.keep(connection.cursor(), [secret(1, place, 60)])


# --- read models ----------------------------------------------------------------------------------


def test_tracking_moves_from_where_it_is(place: Place) -> None:
    with place.log.database.connection() as connection:
        cursor = connection.cursor()
        assert tracking.position(cursor, "p") == 0
        tracking.advance(cursor, "p", 0, 5)
        tracking.advance(cursor, "p", 5, 9)
        with pytest.raises(LostRace):
            tracking.advance(cursor, "p", 5, 12)
        with pytest.raises(LostRace):
            tracking.advance(cursor, "p", 0, 12)
        assert tracking.position(cursor, "p") == 9


def test_what_is_known_is_replaced(place: Place) -> None:
    owner = ("acme", "user/ann")
    for version, name in ((1, "ann"), (3, "anna")):
        with place.log.appending() as transaction:
            save_known(place.log, transaction.cursor, {owner: Known(version, User(user_name=name))})
    with place.log.database.connection() as connection:
        found = load_known(place.log, connection.cursor(), [owner, ("beta", "user/ann")])
    assert found == {owner: Known(3, User(user_name="anna"))}


def test_the_quarantine_keeps_the_first_reason_and_lets_go(place: Place) -> None:
    tell(place, event(1), event(2), event(3, "user/bob"))
    first, second = read_stream(place.log, ANN)
    now = place.now()
    with place.log.database.connection() as connection:
        cursor = connection.cursor()
        quarantine.set_aside(cursor, "p", [Poison(first, "one"), Poison(second, "two")], now)
        quarantine.set_aside(cursor, "p", [Poison(first, "again")], now)
        assert quarantine.frozen(cursor, "p", [ANN, UUID(int=1)]) == {ANN}
        assert quarantine.frozen(cursor, "q", [ANN]) == set()
        known = {ANN: 1, UUID(int=1): 0}
        later, frozen = quarantine.since(place.log, cursor, "p", known, ["thing.happened"])
        assert ({s: [e.version for e in events] for s, events in later.items()}, frozen) == (
            {ANN: [2]},
            {ANN},
        )
        assert quarantine.since(place.log, cursor, "q", {ANN: 2}, ["thing.happened"]) == ({}, set())
        found = quarantine.of_stream(cursor, "p", ANN)
        assert [(one.reason, one.instance, one.type) for one in found] == [
            ("one", "acme", "thing.happened"),
            ("two", "acme", "thing.happened"),
        ]
        assert quarantine.stream_at(cursor, "p", second.position) == ("acme", ANN)
        quarantine.take_out(cursor, "p", [first.position])
        assert quarantine.stream_at(cursor, "p", first.position) is None
        assert quarantine.frozen(cursor, "p", [ANN]) == {ANN}


def test_a_pause_is_one_until_it_is_resumed(place: Place) -> None:
    assert delivery_pauses.pause(place.log, "acme", "email", "why", "key")
    assert not delivery_pauses.pause(place.log, "acme", "email", "why", "key")
    assert not delivery_pauses.resume(place.log, "acme", "", "why", "key")
    assert delivery_pauses.resume(place.log, "acme", "email", "why", "key")
    assert not delivery_pauses.resume(place.log, "acme", "email", "why", "key")


# --- the model itself -----------------------------------------------------------------------------


def test_every_statement_has_a_model_or_is_named_as_left_out() -> None:
    missing = [name for name, function in BY_TEXT.values() if function.__name__ == "_missing"]
    assert missing == []
    assert not NOT_MODELLED & {name for name, _ in BY_TEXT.values()}


def test_a_cursor_answers_as_psycopgs(place: Place) -> None:
    with place.log.database.connection() as connection:
        cursor = connection.cursor()
        assert isinstance(cursor, ModelCursor | psycopg.Cursor)
        cursor.execute(statement("event_log/log.sql:head"))
        assert cursor.fetchone() is None
        assert cursor.fetchall() == []
        cursor.execute(statement("event_log/due_queue.sql:remove"), {"notifications": [UUID(int=1)]})
        assert cursor.rowcount == 0


def test_a_draft_is_overtaken_by_what_its_streams_hold_since(place: Place) -> None:
    bob = stream_id("acme", "user/bob")

    def moved(position: int, until: datetime = NEVER, projection: str = "p") -> bool:
        with place.log.database.connection() as connection:
            return quarantine.moved(connection.cursor(), projection, position, {ANN, CAUSE}, until)

    (first,) = tell(place, event(1))
    (second,) = tell(place, event(2, "user/bob"))
    assert moved(first.position - 1)
    assert not moved(first.position)
    assert not moved(first.position, place.now() + timedelta(minutes=1))
    assert moved(first.position, place.now())
    set_aside(place, bob, second.position)
    assert not moved(first.position)
    set_aside(place, ANN, first.position)
    assert moved(second.position)
    assert not moved(second.position, projection="q")


def set_aside(place: Place, stream: UUID, position: int) -> None:
    (poison,) = (one for one in read_stream(place.log, stream) if one.position == position)
    with place.log.appending() as transaction:
        quarantine.set_aside(transaction.cursor, "p", [Poison(poison, "damaged")], place.now())
