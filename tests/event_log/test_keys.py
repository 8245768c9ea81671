"""The deployment's key and the keys of subjects that it wraps."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from contextlib import suppress
from uuid import uuid4

import psycopg
import pytest
from cryptography.exceptions import InvalidTag

from event_log.database import Database
from event_log.deployment_key import KEY_BYTES, DeploymentKey, Seal
from event_log.envelope import SourceEvent
from event_log.errors import DatabaseUnusable, Undecodable
from event_log.intake import CallerEvent, append
from event_log.keyring import Keyring
from event_log.log import Log, read_stream
from notification_domain.identity import stream_id
from tests.swept import swept_database

RAW = bytes(range(KEY_BYTES))
ANN = ("acme", "user/ann")


@pytest.fixture
def conninfo(server: str, template: str) -> str:
    return swept_database(server, template)


@pytest.mark.parametrize(
    "text",
    [
        RAW.hex(),
        RAW.hex().upper(),
        base64.urlsafe_b64encode(RAW).decode(),
        base64.urlsafe_b64encode(RAW).decode().rstrip("="),
        f"  {RAW.hex()}\n",
    ],
)
def test_a_key_is_read_from_any_usual_spelling(text: str) -> None:
    assert DeploymentKey.from_text(text).derive("x") == DeploymentKey(RAW).derive("x")


@pytest.mark.parametrize("text", ["", "short", "z" * 64, "ä" * 43, RAW.hex()[:-2], "A" * 100])
def test_anything_else_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ValueError, match="32 bytes as URL-safe base64 or hexadecimal") as refused:
        DeploymentKey.from_text(text)
    assert not text or text not in str(refused.value)


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="not 16"):
        DeploymentKey(bytes(16))


def test_purposes_have_keys_of_their_own_and_none_is_shown() -> None:
    key = DeploymentKey(RAW)
    assert len({key.derive("one"), key.derive("two"), RAW}) == 3
    assert len(key.derive("one")) == KEY_BYTES
    assert RAW.hex() not in repr(key)


def test_a_sealed_value_opens_only_with_its_key_and_its_place() -> None:
    seal = Seal(RAW, os.urandom)
    sealed = seal.seal(b"hush", b"here")
    assert seal.open(sealed, b"here") == b"hush"
    assert seal.seal(b"hush", b"here") != sealed, "each time with another nonce"
    for other, place in ((seal, b"there"), (Seal(bytes(32), os.urandom), b"here")):
        with pytest.raises(InvalidTag):
            other.open(sealed, place)


def tell(log: Log, subject: str = "user/ann", number: int = 1, instance: str = "acme") -> None:
    event = CallerEvent(source="s", id=f"{subject} {number}", type="x.y", subject=subject, data={"n": number})
    append(log, instance, [event])


def facts(log: Log, subject: str = "user/ann") -> list[str]:
    return [type(event.fact).__name__ for event in read_stream(log, stream_id("acme", subject))]


def count(conninfo: str) -> int:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute("SELECT count(*) FROM subject_keys").fetchone()
        return int(row[0]) if row else 0


def test_a_subject_has_one_key_for_all_its_events(log: Log, conninfo: str) -> None:
    for number in range(3):
        tell(log, number=number)
    assert count(conninfo) == 1
    tell(log, "user/bob")
    tell(log, instance="other")
    assert count(conninfo) == 3


def test_an_event_says_which_key_sealed_it(log: Log, conninfo: str) -> None:
    tell(log)
    (event,) = read_stream(log, stream_id("acme", "user/ann"))
    with psycopg.connect(conninfo) as connection:
        (key_id,) = connection.execute(
            "SELECT key_id FROM subject_keys WHERE subject = 'user/ann'"
        ).fetchone()  # type: ignore[misc]  # there is one
    assert event.key_id == key_id.bytes


def test_another_process_finds_the_key_again(log: Log, conninfo: str, key: DeploymentKey) -> None:
    tell(log, number=1)
    other = Log(log.database, key, os.urandom)
    tell(other, number=2)
    assert count(conninfo) == 1
    assert facts(other) == facts(log) == ["SourceEvent", "SourceEvent"]


def test_a_rolled_back_key_is_not_remembered(log: Log, conninfo: str) -> None:
    with suppress(ZeroDivisionError), log.appending() as transaction:
        log.keyring.for_writing(transaction.cursor, [ANN])
        raise ZeroDivisionError
    tell(log)
    assert count(conninfo) == 1
    assert facts(log) == ["SourceEvent"]


def test_destroying_a_key_erases_what_it_sealed_and_nothing_else(
    log: Log, conninfo: str, key: DeploymentKey
) -> None:
    tell(log)
    tell(log, "user/bob")
    with psycopg.connect(conninfo) as connection:
        connection.execute("DELETE FROM subject_keys WHERE subject = 'user/ann'")
    fresh = Log(log.database, key, os.urandom)
    assert facts(fresh) == ["Undecodable"]
    assert facts(fresh, "user/bob") == ["SourceEvent"]


def test_a_wrapped_key_does_not_open_in_anothers_place(log: Log, conninfo: str, key: DeploymentKey) -> None:
    tell(log)
    tell(log, "user/bob")
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            "UPDATE subject_keys a SET wrapped_key = b.wrapped_key FROM subject_keys b"
            " WHERE a.subject <> b.subject"
        )
    assert facts(Log(log.database, key, os.urandom)) == ["Undecodable"]


def test_nothing_opens_when_the_deployment_key_is_another(log: Log) -> None:
    tell(log)
    assert facts(Log(log.database, DeploymentKey(bytes(KEY_BYTES)), os.urandom)) == ["Undecodable"]


def test_the_keys_used_last_stay_in_memory(log: Log) -> None:
    tell(log)
    ring = Keyring(DeploymentKey(RAW), os.urandom)
    long_unused, *_ = others = [uuid4().bytes for _ in range(20_000)]
    ring._seals.update(dict.fromkeys(others, Seal(RAW, os.urandom)))
    with log.database.connection() as connection:
        ring.for_writing(connection.cursor(), [ANN])
    assert len(ring._seals) == 20_000
    assert long_unused not in ring._seals


Chance = Callable[[int], bytes]


def test_every_random_byte_comes_from_the_chance_that_was_given(log: Log, key: DeploymentKey) -> None:
    asked: list[int] = []

    def chance(size: int) -> bytes:
        asked.append(size)
        return os.urandom(size)

    tell(Log(log.database, key, chance))
    assert sorted(asked) == [12, 12, 16, 32], "two nonces, a key id and a key"


def test_another_deployment_key_is_refused_at_the_start(log: Log, database: Database) -> None:
    log.open()
    log.open()
    stranger = Log(database, DeploymentKey(bytes(32)), os.urandom)
    with pytest.raises(DatabaseUnusable, match="another secret key"):
        stranger.open()


def test_one_altered_key_leaves_all_others_readable(log: Log, conninfo: str) -> None:
    events = [CallerEvent(source="s", id=f"{n}", type="x.y", subject=f"user/{n}") for n in range(2)]
    append(log, "acme", events)
    with psycopg.connect(conninfo, autocommit=True) as owner:
        owner.execute("UPDATE subject_keys SET wrapped_key = '\\x00' WHERE subject = 'user/0'")
    first, second = (read_stream(log, stream_id("acme", f"user/{n}"))[0].fact for n in range(2))
    assert isinstance(first, Undecodable)
    assert isinstance(second, SourceEvent)
