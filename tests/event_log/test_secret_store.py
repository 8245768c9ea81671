from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from event_log import due_queue, secret_store
from event_log.deployment_key import DeploymentKey, Seal
from event_log.intake import Appended, CallerEvent, append
from event_log.log import Log, read_stream
from notification_domain.identity import stream_id
from notification_domain.secret_fields import REFERENCE
from tests.conftest import Clock
from tests.event_log.test_due_queue import row
from tests.swept import swept_database


@pytest.fixture
def conninfo(server: str, template: str) -> str:
    return swept_database(server, template)


STREAM = stream_id("acme", "user/42")


def code(number: int = 1, **data: Any) -> CallerEvent:
    return CallerEvent(
        source="auth",
        id=f"{number}",
        type="user.human.email.code.added",
        subject="user/42",
        data={"code": f"CODE{number}", "expiry": 3600} | data,
    )


def references(log: Log) -> list[str]:
    return [str(event.fact.data["code"]) for event in read_stream(log, STREAM)]  # type: ignore[union-attr]


def revealed(log: Log) -> dict[str, str]:
    with log.database.connection() as connection:
        return secret_store.reveal(connection.cursor(), log.secret_seal, references(log))


def count(log: Log) -> int:
    with log.database.connection() as connection:
        found = connection.execute("SELECT count(*) FROM secrets").fetchone()
    assert found
    return int(found[0])


def test_a_code_is_revealed_by_its_reference(log: Log) -> None:
    append(log, "acme", [code(1), code(2)])
    assert revealed(log) == dict(zip(references(log), ["CODE1", "CODE2"], strict=True))


def test_nothing_is_revealed_for_an_event_without_a_code(log: Log) -> None:
    with log.database.connection() as connection:
        assert secret_store.reveal(connection.cursor(), log.secret_seal, ["", ""]) == {}


def test_a_code_that_is_gone_is_missing_from_the_answer(log: Log) -> None:
    with log.database.connection() as connection:
        unknown = f"{REFERENCE}{uuid4()}"
        assert secret_store.reveal(connection.cursor(), log.secret_seal, [unknown]) == {}


def test_no_second_secret_is_kept_when_the_event_was_known_already(log: Log) -> None:
    append(log, "acme", [code()])
    answer = append(log, "acme", [code(), code()])
    assert isinstance(answer, tuple)
    assert [one.duplicate for one in answer] == [True, True]
    assert count(log) == 1


def test_no_secret_is_kept_when_the_batch_is_refused(log: Log) -> None:
    append(log, "acme", [code()])
    append(log, "acme", [code(2), code(1, code="ANOTHER")])
    assert revealed(log) == {references(log)[0]: "CODE1"}
    assert count(log) == 1


def test_what_a_caller_names_is_kept_as_a_secret_too(log: Log) -> None:
    event = CallerEvent(
        source="s",
        id="1",
        type="order.placed",
        subject="order/1",
        data={"pin": "1234", "total": 5},
        secret_fields=("pin",),
    )
    append(log, "acme", [event])
    (stored,) = read_stream(log, stream_id("acme", "order/1"))
    reference = stored.fact.data["pin"]  # type: ignore[union-attr]
    with log.database.connection() as connection:
        found = secret_store.reveal(connection.cursor(), log.secret_seal, [reference])
    assert found == {reference: "1234"}


def test_a_code_is_forgotten_when_the_last_notification_of_its_event_closes(log: Log, clock: Clock) -> None:
    append(log, "acme", [code()])
    first, second = row(clock.now, cause_stream=STREAM), row(clock.now, cause_stream=STREAM)
    with log.appending() as transaction:
        due_queue.put(transaction.cursor, [first, second])
    for closing, left in ((first, 1), (second, 0)):
        with log.appending() as transaction:
            due_queue.remove(transaction.cursor, [closing.notification])
            secret_store.forget(transaction.cursor, [(STREAM, 1)])
        assert count(log) == left


def test_the_code_of_another_event_of_the_stream_stays(log: Log) -> None:
    append(log, "acme", [code(1), code(2)])
    with log.appending() as transaction:
        secret_store.forget(transaction.cursor, [(STREAM, 1)])
    assert list(revealed(log).values()) == ["CODE2"]


def test_a_providers_credentials_outlive_notifications_and_time(log: Log, clock: Clock) -> None:
    provider = CallerEvent(
        source="s", id="1", type="instance.smtp.config.added", subject="instance", data={"password": "hush"}
    )
    append(log, "acme", [provider])
    with log.appending() as transaction:
        secret_store.forget(transaction.cursor, [(stream_id("acme", "instance"), 1)])
        assert secret_store.forget_expired(transaction.cursor, clock.now + timedelta(days=10_000)) == 0
    assert count(log) == 1


def test_codes_are_purged_in_bounded_portions_when_their_time_is_over(log: Log, clock: Clock) -> None:
    append(log, "acme", [code(1), code(2), code(3), code(4, expiry=7200)])
    clock.move(minutes=61)
    with log.appending() as transaction:
        assert secret_store.forget_expired(transaction.cursor, clock.now, limit=2) == 2
        assert secret_store.forget_expired(transaction.cursor, clock.now, limit=2) == 1
        assert secret_store.forget_expired(transaction.cursor, clock.now, limit=2) == 0
    assert list(revealed(log).values()) == ["CODE4"]


def test_a_code_without_expiry_is_kept_for_three_days(log: Log, clock: Clock) -> None:
    append(log, "acme", [code(1, expiry=0)])
    with log.appending() as transaction:
        assert secret_store.forget_expired(transaction.cursor, clock.now + timedelta(hours=71)) == 0
        assert secret_store.forget_expired(transaction.cursor, clock.now + timedelta(hours=73)) == 1


def test_a_secret_does_not_open_in_anothers_place(log: Log, conninfo: str) -> None:
    append(log, "acme", [code(1), code(2)])
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            "UPDATE secrets s SET sealed = o.sealed FROM secrets o WHERE o.secret_id <> s.secret_id"
        )
    assert revealed(log) == {}


def test_a_secret_does_not_open_under_another_deployment_key(log: Log) -> None:
    append(log, "acme", [code()])
    log.secret_seal = Seal(DeploymentKey(bytes(32)).derive("secrets"), bytes)
    assert revealed(log) == {}


def test_the_answer_names_positions_when_codes_were_moved(log: Log) -> None:
    answer = append(log, "acme", [code(1), code(1)])
    assert isinstance(answer, tuple)
    assert answer == (Appended("1", answer[0].position, False), Appended("1", answer[0].position, True))
