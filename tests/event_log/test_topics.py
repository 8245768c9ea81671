"""Topics are for ever: ``topics.golden.json`` holds a stored body of every topic and schema there ever was.

To add one: store the example with the new schema, run this file as a program
(``python -m tests.event_log.test_topics``), and commit the lines it adds. Lines that stand there already
are never changed and never removed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from event_log.errors import Undecodable, UnknownTopic
from event_log.mapper import CLEAR, LogMapper
from event_log.recorder import LogEntry
from event_log.topics import RESERVED, TOPICS, Topic
from notification_domain.notification_events import AttemptStarted
from tests.event_log.stored_examples import EVERY, STREAM, row, seals, store

BY_NAME = {topic.name: topic for topic in TOPICS}
GOLDEN_FILE = Path(__file__).with_name("topics.golden.json")
GOLDEN: dict[str, Any] = json.loads(GOLDEN_FILE.read_text())
"""``topic schema`` → the body as JSON."""


def entry(topic: str, schema: int, body: bytes) -> LogEntry:
    """A clear one, whatever the topic: sealing is the mapper's affair, the shape of the body is a topic's."""
    return LogEntry(STREAM, 1, topic, bytes((CLEAR, schema)) + body, "acme")


@pytest.mark.parametrize("name", GOLDEN)
def test_every_body_ever_stored_still_opens(name: str) -> None:
    topic, schema = name.split()
    fact = LogMapper().to_fact(row(entry(topic, int(schema), json.dumps(GOLDEN[name]).encode())), {})
    assert type(fact) is BY_NAME[topic].fact


def test_no_topic_or_schema_ever_disappears_and_none_is_forgotten() -> None:
    spoken = {f"{topic.name} {schema}" for topic in TOPICS for schema in range(1, topic.schema + 1)}
    assert spoken == GOLDEN.keys()


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_todays_body_is_the_golden_one(topic: Topic) -> None:
    """A field that is added, renamed or dropped changes the body, and so asks for a new schema."""
    body = json.loads(msgspec.json.encode(EVERY[topic.name]))
    assert GOLDEN[f"{topic.name} {topic.schema}"] == body


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_topic_is_ours_and_has_an_upcaster_for_every_older_schema(topic: Topic) -> None:
    assert topic.name.startswith(RESERVED)
    assert len(topic.upcasters) == topic.schema - 1


def test_a_topic_names_one_kind_of_event_and_no_class_path() -> None:
    assert len(BY_NAME) == len({topic.fact for topic in TOPICS}) == len(TOPICS)
    assert not [name for name in BY_NAME if ":" in name or name != name.lower()]


# --- tomorrow: attempt.started in schema 3 ----------------------------------------------------------


class Attempted(msgspec.Struct, frozen=True):
    attempt: int
    lease_token: int
    account: str
    region: str


def _rename_provider(body: dict[str, Any]) -> dict[str, Any]:
    return {("account" if name == "provider" else name): value for name, value in body.items()}


def _add_region(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"region": "eu"}


TOMORROW = LogMapper(
    [
        Topic(
            "notification.attempt.started",
            Attempted,  # type: ignore[arg-type]  # an event of tomorrow's domain
            schema=3,
            upcasters=(_rename_provider, _add_region),
        )
    ]
)


@pytest.mark.parity("S5.4")
@pytest.mark.parametrize(
    ("schema", "body"),
    [
        (1, {"attempt": 1, "lease_token": 5, "provider": "mailgun"}),
        (2, {"attempt": 1, "lease_token": 5, "account": "mailgun"}),
        (3, {"attempt": 1, "lease_token": 5, "account": "mailgun", "region": "eu"}),
    ],
)
def test_a_body_of_any_schema_is_brought_up_to_date_when_read(schema: int, body: dict[str, Any]) -> None:
    old = entry("notification.attempt.started", schema, msgspec.json.encode(body))
    assert msgspec.structs.astuple(TOMORROW.to_fact(row(old), {})) == (1, 5, "mailgun", "eu")


def test_a_body_written_today_is_read_tomorrow_and_not_the_other_way_round() -> None:
    today = store(AttemptStarted(1, 5, "mailgun"))
    assert msgspec.structs.astuple(TOMORROW.to_fact(row(today), seals())) == (1, 5, "mailgun", "eu")
    written_tomorrow = entry("notification.attempt.started", 3, today.state[2:])
    with pytest.raises(UnknownTopic, match="schema 3"):
        LogMapper().to_fact(row(written_tomorrow), {})


@pytest.mark.parametrize("body", [b"[]", b"{}", b"nonsense", b'{"attempt":"\xff"}', b'{"provider":7}', b""])
def test_a_damaged_old_body_is_undecodable_and_nothing_worse(body: bytes) -> None:
    with pytest.raises(Undecodable):
        TOMORROW.to_fact(row(entry("notification.attempt.started", 1, body)), {})


if __name__ == "__main__":
    missing = {
        f"{topic.name} {topic.schema}": json.loads(msgspec.json.encode(EVERY[topic.name])) for topic in TOPICS
    }
    GOLDEN_FILE.write_text(json.dumps(missing | GOLDEN, indent=2, sort_keys=True) + "\n")
