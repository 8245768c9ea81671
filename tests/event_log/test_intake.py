from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from event_log.envelope import SourceEvent
from event_log.errors import LogUnavailable, Overloaded
from event_log.intake import (
    Appended,
    CallerEvent,
    Intake,
    OtherBody,
    VersionConflict,
    append,
    ensure_instance,
)
from event_log.log import Log, read_stream
from event_log.recorder import APPEND_LOCK
from notification_domain.identity import stream_id
from tests.swept import swept_database

CODE = CallerEvent(
    source="auth",
    id="1",
    type="user.human.email.code.added",
    subject="user/42",
    data={"code": "S3CRET", "expiry": 3600},
)


@pytest.fixture
def conninfo(server: str, template: str) -> str:
    return swept_database(server, template)


def test_an_event_is_found_again_with_its_code_replaced_when_appended(log: Log) -> None:
    answer = append(log, "acme", [CODE])
    assert isinstance(answer, tuple)
    assert answer[0].duplicate is False
    (event,) = read_stream(log, stream_id("acme", "user/42"))
    assert event.position == answer[0].position
    assert isinstance(event.fact, SourceEvent)
    assert event.fact.data["expiry"] == 3600
    assert event.fact.data["code"].startswith("secret:")


def test_the_same_event_is_one_event_when_appended_twice(log: Log) -> None:
    first, second = append(log, "acme", [CODE]), append(log, "acme", [CODE])
    assert isinstance(first, tuple)
    assert second == (Appended("1", first[0].position, duplicate=True),)


def test_it_is_refused_when_the_id_was_used_for_another_body(log: Log) -> None:
    append(log, "acme", [CODE])
    other = CallerEvent(source="auth", id="1", type=CODE.type, subject="user/42", data={"code": "OTHER"})
    assert append(log, "acme", [other]) == OtherBody(0, "1")


def test_tracing_extensions_do_not_make_another_event(log: Log) -> None:
    append(log, "acme", [CODE])
    traced = CallerEvent(
        source="auth",
        id="1",
        type=CODE.type,
        subject="user/42",
        data=CODE.data,
        extensions={"traceparent": "x"},
    )
    answer = append(log, "acme", [traced])
    assert isinstance(answer, tuple)
    assert answer[0].duplicate


def test_instances_do_not_share_ids(log: Log) -> None:
    append(log, "acme", [CODE])
    answer = append(log, "other", [CODE])
    assert isinstance(answer, tuple)
    assert not answer[0].duplicate


def test_nothing_is_stored_when_the_expected_version_is_stale(log: Log) -> None:
    append(log, "acme", [CODE])
    batch = [
        CallerEvent(source="auth", id="2", type="any.thing", subject="user/7"),
        CallerEvent(source="auth", id="3", type="any.thing", subject="user/42", expected_version=0),
    ]
    assert append(log, "acme", batch) == VersionConflict(1, "user/42", expected=0, current=1)
    assert read_stream(log, stream_id("acme", "user/7")) == []


def test_a_code_is_kept_until_its_own_expiry_counted_from_the_earlier_time(log: Log, conninfo: str) -> None:
    happened = datetime.now(UTC) - timedelta(minutes=30)
    append(
        log,
        "acme",
        [CallerEvent(source="a", id="t", type=CODE.type, subject="user/1", data=CODE.data, time=happened)],
    )
    with psycopg.connect(conninfo) as connection:
        row = connection.execute("SELECT expires_at FROM secrets").fetchone()
    assert row is not None
    assert row[0] == happened + timedelta(hours=1)


def test_no_code_or_name_is_readable_in_the_database(log: Log, conninfo: str) -> None:
    person = CallerEvent(
        source="a",
        id="p",
        type="user.human.added",
        subject="user/42",
        data={"first_name": "Zenobia", "email": "zenobia@example.com", "encodedHash": "HASHHASH"},
    )
    append(log, "acme", [person, CODE])
    with psycopg.connect(conninfo) as connection:
        stored = b"".join(
            bytes(value)
            for table, column in (("events", "state"), ("secrets", "sealed"), ("subject_keys", "wrapped_key"))
            for (value,) in connection.execute(f"SELECT {column} FROM {table}")
        )
    for word in (b"Zenobia", b"zenobia", b"S3CRET", b"HASHHASH"):
        assert word not in stored
    (added, _) = read_stream(log, stream_id("acme", "user/42"))
    assert isinstance(added.fact, SourceEvent)
    assert added.fact.data["password_set"] is True


def test_one_event_is_new_when_many_threads_append_it_at_once(log: Log) -> None:
    intake = Intake(log)
    try:
        futures = [intake.submit("acme", [CODE]) for _ in range(20)]
        answers = [future.result(10) for future in futures]
    finally:
        intake.close()
    flags = [answer[0].duplicate for answer in answers if isinstance(answer, tuple)]
    assert sorted(flags) == [False] + [True] * 19


def test_a_stale_batch_does_not_abort_its_neighbours_in_a_group(log: Log) -> None:
    append(log, "acme", [CODE])
    intake = Intake(log)
    stale = CallerEvent(source="s", id="stale", type="x.y", subject="user/42", expected_version=5)
    try:
        futures = [
            intake.submit(
                "acme",
                [
                    stale
                    if n % 3 == 0
                    else CallerEvent(source="s", id=f"{n}", type="x.y", subject=f"user/{n}")
                ],
            )
            for n in range(30)
        ]
        answers = [future.result(10) for future in futures]
    finally:
        intake.close()
    for n, answer in enumerate(answers):
        assert isinstance(answer, VersionConflict if n % 3 == 0 else tuple)


def test_readers_miss_nothing_while_many_writers_append(log: Log, conninfo: str) -> None:
    """Positions become visible in order: a reader that asks for ``id > position`` never skips one."""
    writers, each = 8, 40
    stopped = threading.Event()
    seen: list[int] = []

    def follow() -> None:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            position = 0
            while True:
                last_round = stopped.is_set()
                rows = connection.execute(
                    "SELECT notification_id FROM events WHERE notification_id > %s ORDER BY 1", (position,)
                ).fetchall()
                seen.extend(row[0] for row in rows)
                position = seen[-1] if seen else 0
                if last_round:
                    return

    def write(writer: int) -> None:
        for n in range(each):
            append(
                log,
                "acme",
                [CallerEvent(source=f"w{writer}", id=f"{n}", type="x.y", subject=f"user/{writer}")],
            )

    reader = threading.Thread(target=follow)
    reader.start()
    threads = [threading.Thread(target=write, args=(n,)) for n in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stopped.set()
    reader.join()
    assert len(seen) == writers * each
    assert seen == sorted(seen)


def test_a_batch_is_stored_whole_or_not_at_all_when_one_id_was_used_before(log: Log) -> None:
    append(log, "acme", [CODE])
    other = CallerEvent(source="auth", id="1", type="x.y", subject="user/42")
    fresh = CallerEvent(source="auth", id="2", type="x.y", subject="user/7")
    assert append(log, "acme", [fresh, other]) == OtherBody(1, "1")
    assert read_stream(log, stream_id("acme", "user/7")) == []


def test_one_id_with_two_bodies_in_one_batch_is_refused(log: Log) -> None:
    other = CallerEvent(source="auth", id="1", type="x.y", subject="user/42")
    assert append(log, "acme", [CODE, other]) == OtherBody(1, "1")


def test_expected_versions_count_on_within_a_batch(log: Log) -> None:
    batch = [
        CallerEvent(source="s", id=f"{version}", type="x.y", subject="user/1", expected_version=version)
        for version in range(3)
    ]
    assert isinstance(append(log, "acme", batch), tuple)
    assert [event.version for event in read_stream(log, stream_id("acme", "user/1"))] == [1, 2, 3]


def test_a_repeated_batch_is_a_duplicate_and_no_conflict_when_it_named_a_version(log: Log) -> None:
    event = CallerEvent(source="s", id="1", type="x.y", subject="user/1", expected_version=0)
    append(log, "acme", [event])
    answer = append(log, "acme", [event])
    assert isinstance(answer, tuple)
    assert answer[0].duplicate


def test_a_caller_learns_that_the_log_is_unavailable_and_may_try_again(log: Log, conninfo: str) -> None:
    intake = Intake(log)
    try:
        with psycopg.connect(conninfo) as other:
            other.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
            with pytest.raises(LogUnavailable):
                intake.submit("acme", [CODE]).result(10)
        answer = intake.submit("acme", [CODE]).result(10)
    finally:
        intake.close()
    assert isinstance(answer, tuple)
    assert not answer[0].duplicate


def test_closing_stores_what_was_submitted(log: Log) -> None:
    intake = Intake(log)
    future = intake.submit("acme", [CODE])
    intake.close()
    assert isinstance(future.result(0), tuple)
    assert len(read_stream(log, stream_id("acme", "user/42"))) == 1


def test_it_refuses_at_once_when_too_many_batches_wait(log: Log, conninfo: str) -> None:
    intake = Intake(log, max_waiting=1)
    try:
        with psycopg.connect(conninfo) as other:
            other.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
            with pytest.raises(Overloaded):
                _submit_three(intake)
    finally:
        intake.close()


def _submit_three(intake: Intake) -> None:
    """One is being committed, one waits, one is too many."""
    for number in range(3):
        intake.submit("acme", [CallerEvent(source="s", id=f"{number}", type="x.y", subject="user/1")])


def test_an_instance_is_opened_once(log: Log) -> None:
    assert ensure_instance(log, "acme") is True
    assert ensure_instance(log, "acme") is False


@pytest.mark.parametrize(
    "statement", ["UPDATE events SET topic = 'x'", "DELETE FROM events", "TRUNCATE events"]
)
def test_the_log_cannot_be_rewritten_by_the_role_we_run_as(log: Log, statement: str) -> None:
    append(log, "acme", [CODE])
    with (
        log.database.datastore.pool.connection() as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)
