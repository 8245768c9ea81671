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
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidTag
from eventsourcing.persistence import JSONTranscoder, Mapper

from event_log.deployment_key import Seal
from event_log.envelope import Envelope, Fact, SourceEvent
from event_log.errors import Undecodable, UnknownTopic
from event_log.keyring import KEY_ID_BYTES, KeyId, Owner
from event_log.topics import RESERVED, TOPICS, Topic

CLEAR, PERSONAL, FROM_CALLER = 1, 2, 3
FINGERPRINT_BYTES = 32
_FORMATS = frozenset({CLEAR, PERSONAL, FROM_CALLER})
_KEY_AT = {PERSONAL: 2, FROM_CALLER: 2 + FINGERPRINT_BYTES}
"""Where the key id stands in a sealed body."""
_SOURCE_SCHEMA = 1

_DAMAGE = (msgspec.MsgspecError, ValueError, LookupError, TypeError, RecursionError)
"""What decoding and upcasting make of a body that is not what was written."""

_PERSONAL: dict[type, bool] = {topic.fact: topic.personal for topic in TOPICS}

Keys: TypeAlias = Mapping[Owner, tuple[KeyId, Seal]]
Place: TypeAlias = tuple[str, UUID, int, str]
"""instance, stream, version, topic: where a stored body belongs"""
Row: TypeAlias = tuple[int, str, UUID, int, str, datetime, bytes]
"""position, instance, stream, version, topic, recorded at, state"""

_encode = msgspec.json.Encoder(order="deterministic").encode
_encode_place = msgspec.json.Encoder(uuid_format="hex").encode
_decode_source = msgspec.json.Decoder(SourceEvent).decode


class LogMapper(Mapper[UUID]):
    """Wraps facts for the recorder; ``keys`` holds the seals of all owners in play."""

    def __init__(self, topics: Sequence[Topic] = TOPICS) -> None:
        # The library's transcoder would misread a caller's "_type_" field: it is never used.
        super().__init__(JSONTranscoder())
        self._by_name = {topic.name: topic for topic in topics}
        self._by_fact: dict[type, Topic] = {topic.fact: topic for topic in topics}
        self._decoders = {topic.name: msgspec.json.Decoder(topic.fact) for topic in topics}

    def to_fact(self, row: Row, seals: Mapping[KeyId, Seal]) -> Fact:
        """Raises Undecodable, or UnknownTopic for what newer code has written."""
        schema, body = _opened(row, seals)
        name = row[4]
        topic = self._by_name.get(name)
        try:
            if topic is not None:
                return self._current(topic, schema, body)
            if name.startswith(RESERVED):
                raise UnknownTopic(f"the topic {name} is not known to this version")
            return _source(name, schema, body)
        except _DAMAGE as error:
            raise Undecodable(f"{name}: {error}") from None

    def _current(self, topic: Topic, schema: int, body: bytes) -> Fact:
        return (
            self._decoders[topic.name].decode(body)
            if schema == topic.schema
            else _upcast(topic, schema, body)
        )

    def to_body(self, envelope: Envelope, keys: Keys) -> tuple[str, bytes]:
        """Topic and stored bytes."""
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


def key_id_of(state: bytes) -> KeyId | None:
    """Which key a stored body needs, None for a clear one."""
    start = _KEY_AT.get(state[0]) if state else None
    if start is None:
        return None
    key_id = state[start : start + KEY_ID_BYTES]
    return key_id if len(key_id) == KEY_ID_BYTES else None


def fingerprint_of(state: bytes) -> bytes:
    """The fingerprint of a caller's event, readable without any key; empty for others."""
    return bytes(state[2 : 2 + FINGERPRINT_BYTES]) if state[:1] == bytes((FROM_CALLER,)) else b""


def _associated(place: Place, head: bytes) -> bytes:
    return _encode_place((*place, head))


def _sealed(envelope: Envelope, topic: str, head: bytes, keys: Keys) -> bytes:
    key_id, seal = keys[envelope.instance, envelope.subject]
    associated = _associated((envelope.instance, envelope.stream, envelope.version, topic), head)
    return key_id + seal.seal(_encode(envelope.fact), associated)


def _opened(row: Row, seals: Mapping[KeyId, Seal]) -> tuple[int, bytes]:
    topic, state = row[4], row[6]
    if len(state) < 2 or state[0] not in _FORMATS:  # noqa: PLR2004  # the two header bytes
        raise Undecodable(f"{topic}: not a stored body of any known format")
    start = _KEY_AT.get(state[0])
    if start is None:
        return state[1], state[2:]
    body = start + KEY_ID_BYTES
    seal = seals.get(state[start:body])
    if seal is None:
        raise Undecodable(f"{topic}: its key was destroyed")
    try:
        return state[1], seal.open(state[body:], _associated(row[1:5], state[:start]))
    except (InvalidTag, ValueError):
        raise Undecodable(f"{topic}: the stored bytes were altered") from None


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
