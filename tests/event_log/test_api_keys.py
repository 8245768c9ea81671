from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Sequence

import psycopg
import pytest

from event_log.api_keys import SCOPES, ApiKey, create_key, list_keys, revoke_key, verify_key
from event_log.database import Database
from tests.conftest import Clock
from tests.swept import swept_database


@pytest.fixture
def conninfo(server: str, template: str) -> str:
    return swept_database(server, template)


Chance = Callable[[int], bytes]
Create = Callable[..., tuple[ApiKey, str]]


@pytest.fixture
def create(database: Database, clock: Clock, chance: Chance) -> Create:
    def make(
        instance: str = "acme", scopes: Sequence[str] = ("events:append",), name: str = "shop"
    ) -> tuple[ApiKey, str]:
        return create_key(database, instance, scopes, name, clock(), chance)

    return make


def test_a_key_is_recognised_with_its_instance_and_scopes(database: Database, create: Create) -> None:
    key, text = create("acme", ["operate", "events:append"], "shop")
    assert verify_key(database, text) == key
    assert (key.instance, key.scopes, key.name) == ("acme", frozenset({"operate", "events:append"}), "shop")


def test_the_text_is_stored_nowhere(conninfo: str, create: Create) -> None:
    _, text = create()
    with psycopg.connect(conninfo) as connection:
        rows = connection.execute("SELECT api_keys::text, encode(hash, 'escape') FROM api_keys").fetchall()
    secret = text.split("_")[2]
    assert secret not in str(rows)


@pytest.mark.parametrize("scopes", [[], ["events:read"], ["events:append", "root"]])
def test_an_unknown_scope_is_refused_with_the_list_of_scopes(create: Create, scopes: list[str]) -> None:
    with pytest.raises(ValueError, match="choose from events:append"):
        create(scopes=scopes)


def test_admin_allows_everything_and_other_scopes_themselves_only(create: Create) -> None:
    admin, _ = create(scopes=["admin"])
    reader, _ = create(scopes=["notifications:read"])
    assert [scope for scope in SCOPES if admin.allows(scope)] == list(SCOPES)
    assert [scope for scope in SCOPES if reader.allows(scope)] == ["notifications:read"]


def test_a_revoked_key_is_refused_and_keeps_its_first_time(
    database: Database, create: Create, clock: Clock
) -> None:
    key, text = create()
    first = clock.now
    assert revoke_key(database, key.id, first) is True
    clock.move(hours=1)
    assert revoke_key(database, key.id, clock()) is True
    assert verify_key(database, text) is None
    assert [one.revoked_at for one in list_keys(database)] == [first]


def test_there_is_nothing_to_revoke_when_the_id_is_unknown(database: Database, clock: Clock) -> None:
    assert revoke_key(database, "nobody", clock()) is False


def test_keys_are_listed_by_instance_in_the_order_of_their_making(
    database: Database, create: Create, clock: Clock
) -> None:
    first, _ = create("acme", name="first")
    clock.move(seconds=1)
    second, _ = create("acme", name="second")
    other, _ = create("other")
    assert list_keys(database, "acme") == [first, second]
    assert set(list_keys(database)) == {first, second, other}
    assert list_keys(database, "nobody") == []


@pytest.mark.parametrize(
    "presented",
    [
        "",
        "tdg",
        "tdg__",
        "tdg_a",
        "tdg_a_b_c",
        "tdg_nobody_secretsecret",
        "TDG_a_b",
        "bearer tdg_a_b",
        "tdg_\0_x",
        "tdg_ä_ö",
        "tdg_a_\ud800",
        "tdg_'; DROP TABLE api_keys; --_x",
        "tdg_" + "a" * 100_000 + "_x",
        "tdg_٣_٣",
    ],
)
def test_a_malformed_or_unknown_key_is_nobodys(database: Database, create: Create, presented: str) -> None:
    create()
    assert verify_key(database, presented) is None


def test_every_changed_character_is_noticed(database: Database, create: Create) -> None:
    _, text = create()
    for at in range(0, len(text), 7):
        changed = text[:at] + ("b" if text[at] == "a" else "a") + text[at + 1 :]
        assert verify_key(database, changed) is None


def test_the_secret_of_one_key_does_not_open_another(database: Database, create: Create) -> None:
    (one, _), (_, text) = create(), create()
    _, _, secret = text.split("_")
    assert verify_key(database, f"tdg_{one.id}_{secret}") is None


def test_a_key_ends_in_a_checksum_by_which_scanners_know_it(create: Create) -> None:
    _, text = create()
    body, checksum = text[:-7], text[-7:]
    assert int.from_bytes(_bytes_of(checksum), "big") == zlib.crc32(body.encode())


def _bytes_of(text: str) -> bytes:
    return base64.b32decode(text.upper() + "=")
