from __future__ import annotations

from itertools import combinations
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notification_domain import identity

CAUSE = identity.event_id("acme", "https://id.acme.example", "e-1")
NOTIFICATION = identity.notification_id("acme", CAUSE, "user.human.email.code.added")

# Written down once: whoever changes one of these makes every notification of every log twice.
GOLDEN = {
    "event": (CAUSE, "b8412335-dc08-57fd-8e73-6a902632daac"),
    "stream": (identity.stream_id("acme", "user/42"), "1f2e02de-1eec-587d-9d71-71781b6d6bd9"),
    "instance": (identity.stream_id("acme", "instance"), "7e81070e-7c84-5959-817d-f20a39f46a1e"),
    "notification": (NOTIFICATION, "4728dcc1-f1e1-5fd4-a6a3-7285f8bdef42"),
    "slot": (
        identity.notification_id("acme", CAUSE, "user.human.email.code.added", "sms 42"),
        "520fb913-63d0-5d42-8a6d-d466c8ef61aa",
    ),
    "settings": (identity.settings_id("acme", "delivery"), "6978245d-7460-5486-a65e-3d74e2d8637a"),
    "secret": (identity.secret_id(CAUSE, "/code"), "1c65599b-fa6e-5489-b220-21d2d72f544f"),
    "write-back": (UUID(identity.write_back_id(NOTIFICATION, 1)), "80b9a696-c9fa-50fd-b6a1-c8b42a4ea220"),
    "second write-back": (
        UUID(identity.write_back_id(NOTIFICATION, 2)),
        "76891c61-5c89-5d42-b646-099b9e4b888f",
    ),
}

words = st.text(max_size=8)


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_an_id_is_for_ever(name: str) -> None:
    derived, golden = GOLDEN[name]
    assert str(derived) == golden


def test_every_id_differs_from_every_other() -> None:
    assert len({derived for derived, _ in GOLDEN.values()}) == len(GOLDEN)


def test_an_id_is_a_name_based_uuid() -> None:
    assert (CAUSE.version, CAUSE.variant) == (5, RFC_4122)


@pytest.mark.parametrize(
    ("one", "other"),
    list(
        combinations(
            [("a", "b", "c"), ("a", "b/c", ""), ("a/b", "c", ""), ("ab", "c", ""), ("", "ab", "c")], 2
        )
    ),
)
def test_parts_keep_their_borders(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert identity.event_id(*one) != identity.event_id(*other)


@given(st.tuples(words, words, words), st.tuples(words, words, words))
def test_two_causes_share_an_id_only_when_they_are_one(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    assert (identity.event_id(*one) == identity.event_id(*other)) == (one == other)


@given(words, words)
def test_streams_and_events_never_share_an_id(instance: str, name: str) -> None:
    assert identity.stream_id(instance, name) != identity.event_id(instance, name, "")
    assert identity.stream_id(instance, name) != identity.event_id(instance, "", name)
