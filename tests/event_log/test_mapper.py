from __future__ import annotations

import dataclasses
import string
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from event_log import mapper
from event_log.envelope import Fact, SourceEvent
from event_log.errors import Undecodable, UnknownTopic
from event_log.mapper import CLEAR, FROM_CALLER, PERSONAL, LogMapper, fingerprint_of, key_id_of
from event_log.recorder import LogEntry
from event_log.topics import TOPICS, Topic
from tests.event_log.stored_examples import EVERY, EXAMPLES, KEY_ID, STREAM, row, seals, store
from tests.event_log.stored_examples import FROM_CALLER as CALLERS

MAPPER = LogMapper()
FACTS: tuple[Fact, ...] = (*EVERY.values(), CALLERS)
BY_NAME = {topic.name: topic for topic in TOPICS}
BY_FACT: dict[type, Topic] = {topic.fact: topic for topic in TOPICS}
SEALED = tuple(fact for fact in FACTS if isinstance(fact, SourceEvent) or BY_FACT[type(fact)].personal)


def read(entry: LogEntry) -> Fact:
    return MAPPER.to_fact(row(entry), seals())


def with_state(entry: LogEntry, state: bytes) -> LogEntry:
    return dataclasses.replace(entry, state=state)


def test_there_is_an_example_of_every_topic() -> None:
    assert EVERY.keys() == BY_NAME.keys()


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: type(fact).__name__)
def test_an_event_comes_back_as_it_was_when_stored(fact: Fact) -> None:
    assert read(store(fact)) == fact


_TEXT = st.text(max_size=20)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=10,
)


def _exact(given: Any) -> Any:
    """Infinity has no JSON; whole floats stay floats because msgspec writes their point."""
    return msgspec.json.decode(msgspec.json.encode(given))


@given(data=st.dictionaries(_TEXT, _JSON, max_size=4), extensions=st.dictionaries(_TEXT, _TEXT, max_size=2))
def test_any_payload_of_a_caller_comes_back_as_it_was(
    data: dict[str, Any], extensions: dict[str, str]
) -> None:
    fact = msgspec.structs.replace(CALLERS, data=_exact(data), extensions=extensions)
    assert read(store(fact)) == fact


_WORDS = {str: _TEXT, int: st.integers(0, 2**53), bool: st.booleans()}
_MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # zone given


def _variants(fact: Fact) -> st.SearchStrategy[Fact]:
    """The example with its texts, numbers and times replaced."""
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for name in fact.__struct_fields__:
        value = getattr(fact, name)
        if type(value) in _WORDS:
            fields[name] = _WORDS[type(value)]
        elif isinstance(value, datetime):
            fields[name] = _MOMENTS
    return st.fixed_dictionaries(fields).map(lambda changed: msgspec.structs.replace(fact, **changed))


@given(fact=st.sampled_from(list(EVERY.values())).flatmap(_variants))
def test_any_event_comes_back_as_it_was(fact: Fact) -> None:
    assert read(store(fact)) == fact


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: type(fact).__name__)
def test_a_stored_body_begins_with_its_format_and_schema(fact: Fact) -> None:
    if isinstance(fact, SourceEvent):
        expected = bytes((FROM_CALLER, 1))
    else:
        topic = BY_FACT[type(fact)]
        expected = bytes((PERSONAL if topic.personal else CLEAR, topic.schema))
    assert store(fact).state[:2] == expected


@pytest.mark.parametrize("fact", SEALED, ids=lambda fact: type(fact).__name__)
def test_what_is_personal_is_not_readable_in_the_stored_bytes(fact: Fact) -> None:
    stored = store(fact).state
    for word in (b"ada", b"example", b"sandbox"):
        assert word not in stored


def test_the_fingerprint_is_readable_without_a_key() -> None:
    assert fingerprint_of(store(CALLERS).state) == bytes(range(32))
    assert fingerprint_of(store(EXAMPLES["notification.sent"]).state) == b""


def test_the_key_id_is_found_where_there_is_one() -> None:
    assert key_id_of(store(CALLERS).state) == KEY_ID
    assert key_id_of(store(EXAMPLES["notification.sent"]).state) == KEY_ID
    assert key_id_of(store(EXAMPLES["notification.attempt.started"]).state) is None
    assert key_id_of(b"") is None
    assert key_id_of(b"\x02\x01short") is None


# --- bytes that are elsewhere than they were written ------------------------------------------------


def _moved(**to: Any) -> Callable[[LogEntry], LogEntry]:
    return lambda entry: dataclasses.replace(entry, **to)


@pytest.mark.parametrize(
    "move",
    [
        _moved(instance_id="other"),
        _moved(originator_id=UUID(int=1)),
        _moved(originator_version=2),
        _moved(topic="user.human.email.verified"),
    ],
    ids=["instance", "stream", "version", "topic"],
)
@pytest.mark.parametrize("fact", [CALLERS, EXAMPLES["notification.requested"]], ids=["caller", "ours"])
def test_sealed_bytes_do_not_open_elsewhere(fact: Fact, move: Callable[[LogEntry], LogEntry]) -> None:
    with pytest.raises(Undecodable, match="altered"):
        read(move(store(fact)))


def test_the_bytes_of_two_rows_do_not_open_when_swapped() -> None:
    first, second = store(CALLERS, version=1), store(CALLERS, version=2)
    for entry, other in ((first, second), (second, first)):
        with pytest.raises(Undecodable):
            read(with_state(entry, other.state))


def test_a_body_does_not_open_without_its_key() -> None:
    with pytest.raises(Undecodable, match="destroyed"):
        MAPPER.to_fact(row(store(CALLERS)), {})


def test_a_body_does_not_open_under_another_key() -> None:
    with pytest.raises(Undecodable, match="altered"):
        MAPPER.to_fact(row(store(CALLERS)), seals(bytes(32)))


# --- bytes that are not what was written ------------------------------------------------------------


@pytest.mark.parametrize("fact", SEALED, ids=lambda fact: type(fact).__name__)
def test_a_sealed_body_does_not_open_when_any_of_its_bytes_differs(fact: Fact) -> None:
    entry = store(fact)
    for at in range(len(entry.state)):
        flipped = bytearray(entry.state)
        flipped[at] ^= 1 << (at % 8)
        with pytest.raises(Undecodable):
            read(with_state(entry, bytes(flipped)))


@given(fact=st.sampled_from(FACTS), kept=st.floats(0, 1, exclude_max=True))
def test_a_truncated_body_is_noticed(fact: Fact, kept: float) -> None:
    entry = store(fact)
    with pytest.raises(Undecodable):
        read(with_state(entry, entry.state[: int(kept * len(entry.state))]))


@given(fact=st.sampled_from(FACTS), kept=st.floats(0, 1, exclude_max=True))
def test_a_zeroed_body_is_noticed(fact: Fact, kept: float) -> None:
    entry = store(fact)
    intact = int(kept * len(entry.state))
    zeroed = entry.state[:intact] + bytes(len(entry.state) - intact)
    assume(zeroed != entry.state)
    with pytest.raises(Undecodable):
        read(with_state(entry, zeroed))


@given(topic=st.sampled_from([*BY_NAME, CALLERS.type]), state=st.binary(max_size=120))
def test_arbitrary_bytes_are_undecodable_and_nothing_worse(topic: str, state: bytes) -> None:
    with pytest.raises(Undecodable):
        read(LogEntry(STREAM, 1, topic, state, "acme"))


_CLEAR = [fact for fact in EVERY.values() if not BY_FACT[type(fact)].personal]


@given(
    fact=st.sampled_from(_CLEAR),
    where=st.floats(0, 1, exclude_max=True),
    instead=st.binary(min_size=1, max_size=3),
)
def test_a_damaged_clear_body_raises_nothing_but_undecodable(
    fact: Fact, where: float, instead: bytes
) -> None:
    entry = store(fact)
    at = int(where * len(entry.state))
    damaged = with_state(entry, entry.state[:at] + instead + entry.state[at + len(instead) :])
    try:
        read(damaged)
    except Undecodable as reason:
        assert str(reason)  # noqa: PT017  # it may also still be a valid body: clear ones carry no seal


# --- what newer code has written --------------------------------------------------------------------


def test_a_topic_of_ours_is_left_alone_when_it_is_unknown() -> None:
    entry = dataclasses.replace(
        store(EXAMPLES["notification.attempt.started"]), topic="notification.forwarded"
    )
    with pytest.raises(UnknownTopic, match=r"notification\.forwarded"):
        read(entry)


def test_a_callers_event_is_left_alone_when_its_schema_is_unknown() -> None:
    head = bytes((FROM_CALLER, 2)) + bytes(32)
    associated = mapper._associated(("acme", STREAM, 1, CALLERS.type), head)
    body = KEY_ID + seals()[KEY_ID].seal(b'{"shape":"of tomorrow"}', associated)
    with pytest.raises(UnknownTopic, match="schema 2"):
        read(with_state(store(CALLERS), head + body))


@pytest.mark.parametrize("schema", [0, 2, 255])
def test_a_body_is_left_alone_when_its_schema_is_unknown(schema: int) -> None:
    entry = store(EXAMPLES["notification.attempt.started"])
    newer = with_state(entry, bytes((CLEAR, schema)) + entry.state[2:])
    with pytest.raises(UnknownTopic, match=f"schema {schema}"):
        read(newer)


@given(topic=st.text(string.ascii_lowercase + ".", min_size=1, max_size=30))
def test_a_caller_may_use_any_type_that_is_not_ours(topic: str) -> None:
    fact = msgspec.structs.replace(CALLERS, type=f"x{topic}")
    assert read(store(fact)) == fact
