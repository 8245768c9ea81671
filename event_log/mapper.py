"""Our mapper and codec: an envelope to stored bytes, and back.

The first byte is the format, the second the body's schema version. What is personal is sealed with
AES-256-GCM under its subject's key, bound to instance, stream, version, topic and all that stands before
the key id, so that bytes moved elsewhere or altered do not open::

    1 schema body                                      clear
    2 schema key_id nonce sealed-body                  personal
    3 schema fingerprint key_id nonce sealed-body      from a caller
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidTag
from eventsourcing.persistence import JSONTranscoder, Mapper

from event_log.deployment_key import Seal
from event_log.envelope import Envelope, Fact, SourceEvent
from event_log.errors import Undecodable, UnknownTopic
from event_log.recorder import LogEntry
from event_log.topics import RESERVED, TOPICS, Topic

CLEAR, PERSONAL, FROM_CALLER = 1, 2, 3
FINGERPRINT_BYTES = 32
_KEY_ID_BYTES = 16
_SOURCE_SCHEMA = 1

_DAMAGE = (msgspec.MsgspecError, ValueError, LookupError, TypeError, RecursionError)
"""What decoding and upcasting make of a body that is not what was written."""

_PERSONAL: dict[type, bool] = {topic.fact: topic.personal for topic in TOPICS}

Keys: TypeAlias = Mapping[tuple[str, str], tuple[UUID, Seal]]

_encode = msgspec.json.Encoder(order="deterministic").encode
_decode_source = msgspec.json.Decoder(SourceEvent).decode


class LogMapper(Mapper[UUID]):
    """Wraps facts for the recorder; ``keys`` holds the seals of all owners in play."""

    def __init__(self, topics: Sequence[Topic] = TOPICS) -> None:
        # The library's transcoder would misread a caller's "_type_" field: it is never used.
        super().__init__(JSONTranscoder())
        self._by_name = {topic.name: topic for topic in topics}
        self._by_fact: dict[type, Topic] = {topic.fact: topic for topic in topics}
        self._decoders = {topic.name: msgspec.json.Decoder(topic.fact) for topic in topics}

    def to_entry(self, envelope: Envelope, keys: Keys) -> LogEntry:
        topic, state = self._state(envelope, keys)
        return LogEntry(
            originator_id=envelope.stream,
            originator_version=envelope.version,
            topic=topic,
            state=state,
            instance_id=envelope.instance,
            event_id=envelope.event_id,
        )

    def to_fact(self, entry: LogEntry, seals: Mapping[UUID, Seal]) -> Fact:
        """Raises Undecodable, or UnknownTopic for what newer code has written."""
        schema, body = _opened(entry, seals)
        topic = self._by_name.get(entry.topic)
        try:
            if topic is not None:
                return self._current(topic, schema, body)
            if entry.topic.startswith(RESERVED):
                raise UnknownTopic(f"the topic {entry.topic} is not known to this version")
            return _source(entry.topic, schema, body)
        except _DAMAGE as error:
            raise Undecodable(f"{entry.topic}: {error}") from None

    def _current(self, topic: Topic, schema: int, body: bytes) -> Fact:
        return (
            self._decoders[topic.name].decode(body)
            if schema == topic.schema
            else _upcast(topic, schema, body)
        )

    def _state(self, envelope: Envelope, keys: Keys) -> tuple[str, bytes]:
        fact = envelope.fact
        if isinstance(fact, SourceEvent):
            head = bytes((FROM_CALLER, _SOURCE_SCHEMA)) + envelope.fingerprint
            return fact.type, head + _sealed(envelope, fact.type, head, keys)
        topic = self._by_fact[type(fact)]
        if topic.personal:
            head = bytes((PERSONAL, topic.schema))
            return topic.name, head + _sealed(envelope, topic.name, head, keys)
        return topic.name, bytes((CLEAR, topic.schema)) + _encode(fact)


def is_sealed(envelope: Envelope) -> bool:
    """Whether its subject's key is needed to store it."""
    return isinstance(envelope.fact, SourceEvent) or _PERSONAL.get(type(envelope.fact), True)


def key_id_of(state: bytes) -> UUID | None:
    """Which key a stored body needs, None for a clear one."""
    start = _key_at(state)
    key_id = state[start : start + _KEY_ID_BYTES] if start else b""
    return UUID(bytes=bytes(key_id)) if len(key_id) == _KEY_ID_BYTES else None


def fingerprint_of(state: bytes) -> bytes:
    """The fingerprint of a caller's event, readable without any key; empty for others."""
    return bytes(state[2 : 2 + FINGERPRINT_BYTES]) if state[:1] == bytes((FROM_CALLER,)) else b""


def _key_at(state: bytes) -> int:
    return {PERSONAL: 2, FROM_CALLER: 2 + FINGERPRINT_BYTES}.get(state[0] if state else 0, 0)


def _associated(instance: str, stream: UUID, version: int, topic: str, head: bytes) -> bytes:
    return _encode((instance, stream.hex, version, topic, head))


def _sealed(envelope: Envelope, topic: str, head: bytes, keys: Keys) -> bytes:
    key_id, seal = keys[envelope.instance, envelope.subject]
    associated = _associated(envelope.instance, envelope.stream, envelope.version, topic, head)
    return key_id.bytes + seal.seal(_encode(envelope.fact), associated)


def _opened(entry: LogEntry, seals: Mapping[UUID, Seal]) -> tuple[int, bytes]:
    state = entry.state
    if len(state) < 2 or state[0] not in (CLEAR, PERSONAL, FROM_CALLER):  # noqa: PLR2004  # the two header bytes
        raise Undecodable(f"{entry.topic}: not a stored body of any known format")
    if state[0] == CLEAR:
        return state[1], state[2:]
    key_id = key_id_of(state)
    seal = seals.get(key_id) if key_id else None
    if seal is None:
        raise Undecodable(f"{entry.topic}: its key was destroyed")
    stream = entry.originator_id
    assert isinstance(stream, UUID)
    start = _key_at(state)
    head = bytes(state[:start])
    associated = _associated(entry.instance_id, stream, entry.originator_version, entry.topic, head)
    try:
        return state[1], seal.open(state[start + _KEY_ID_BYTES :], associated)
    except (InvalidTag, ValueError):
        raise Undecodable(f"{entry.topic}: the stored bytes were altered") from None


def _source(topic: str, schema: int, body: bytes) -> SourceEvent:
    if schema != _SOURCE_SCHEMA:
        raise UnknownTopic(f"{topic} in schema {schema} is not known to this version")
    return _decode_source(body)


def _upcast(topic: Topic, schema: int, body: bytes) -> Fact:
    if schema > topic.schema or schema < 1:
        raise UnknownTopic(f"{topic.name} in schema {schema} is not known to this version")
    fields = msgspec.json.decode(body, type=dict[str, Any])
    for upcaster in topic.upcasters[schema - 1 :]:
        fields = upcaster(fields)
    return msgspec.convert(fields, topic.fact, strict=False)
