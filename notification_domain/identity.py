"""Names derived from causes: the same cause can never be given two ids.

Every id is a version 5 UUID (RFC 9562) over a JSON array, never over concatenated strings, so that
``["a", "b/c"]`` and ``["a/b", "c"]`` cannot collide.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha1
from uuid import UUID

import msgspec

_NAMESPACE = UUID("8d0c9a4e-3a53-5d0b-9a3e-7a1d6f0b52c4").bytes
_FREE = ~((0xF << 76) | (0x3 << 62))
"""The bits of a UUID that are neither its version nor its variant."""
_VERSION_5 = (0x5 << 76) | (0x2 << 62)
_KEPT = 20_000
"""Stream ids remembered: each is asked for several times while its event is handled or delivered."""
_encode = msgspec.json.encode


def event_id(instance: str, source: str, caller_id: str) -> UUID:
    """Id of an event a caller appended, from CloudEvents' (source, id) pair and the instance."""
    return _derive("event", instance, source, caller_id)


@lru_cache(_KEPT)
def stream_id(instance: str, subject: str) -> UUID:
    """Id of the stream that holds a subject's source events, such as ``user/42``."""
    return _derive("stream", instance, subject)


def notification_id(instance: str, cause: UUID, rule: str, slot: str = "") -> UUID:
    """Id of the notification that ``rule`` derives from ``cause``; ``slot`` tells several apart."""
    return _derive("notification", instance, str(cause), rule, slot)


def settings_id(instance: str, name: str) -> UUID:
    """Id of a stream of our own settings; the instance is empty for those of the whole deployment."""
    return _derive("settings", instance, name)


def secret_id(event: UUID, pointer: str) -> UUID:
    """Id of the secret that stood at ``pointer`` of an event's data."""
    return _derive("secret", str(event), pointer)


def write_back_id(notification: UUID, cycle: int) -> str:
    """CloudEvents id of the event that tells the source stream of a notification's sending."""
    return str(_derive("write-back", str(notification), str(cycle)))


def _derive(*parts: str) -> UUID:
    # As uuid.uuid5, which takes text and makes bytes of it again.
    digest = sha1(_NAMESPACE + _encode(parts), usedforsecurity=False).digest()
    return UUID(int=int.from_bytes(digest[:16]) & _FREE | _VERSION_5)
