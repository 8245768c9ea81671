"""API keys: shown once, stored hashed, bound to one instance, with scopes.

A key reads ``tdg_<key id>_<secret><checksum>``; by the checksum, scanners recognise a leaked one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import zlib
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from event_log.database import Database
from event_log.sql import load

_queries = load("event_log", "api_keys.sql")

SCOPES = ("events:append", "notifications:read", "notifications:write", "operate", "admin")
"""``admin`` implies all others."""
_PREFIX = "tdg"
_PARTS = 3


class ApiKey(msgspec.Struct, frozen=True):
    id: str
    instance: str
    scopes: frozenset[str]
    name: str
    created_at: datetime
    revoked_at: datetime | None = None

    def allows(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes


def create_key(  # a key's fields
    database: Database,
    instance: str,
    scopes: Sequence[str],
    name: str,
    now: datetime,
    chance: Callable[[int], bytes],
) -> tuple[ApiKey, str]:
    """A new key and its text, which is shown now and never again. Raises ValueError for an unknown scope."""
    unknown = set(scopes) - set(SCOPES)
    if unknown or not scopes:
        raise ValueError(
            f"unknown scope {', '.join(sorted(unknown)) or '(none given)'}: choose from {', '.join(SCOPES)}"
        )
    key = ApiKey(_text(chance(9)), instance, frozenset(scopes), name, now)
    body = f"{_PREFIX}_{key.id}_{_text(chance(32))}"
    text = body + _checksum(body)
    with database.connection() as connection:
        connection.execute(
            _queries.insert,
            {
                "key_id": key.id,
                "instance": instance,
                "hash": _hash(text),
                "scopes": sorted(key.scopes),
                "name": name,
                "now": now,
            },
        )
    return key, text


def verify_key(database: Database, presented: str) -> ApiKey | None:
    """The key behind the text; None when it is malformed, unknown or revoked."""
    parts = presented.split("_")
    if len(parts) != _PARTS or parts[0] != _PREFIX or not _is_plain("".join(parts)):
        return None
    with database.connection() as connection:
        row = connection.execute(_queries.select, {"key_id": parts[1]}, prepare=True).fetchone()
    stored = bytes(row[6]) if row else b"\0" * 32
    if not hmac.compare_digest(_hash(presented), stored) or row is None or row[5] is not None:
        return None
    return _key(row)


def list_keys(database: Database, instance: str | None = None) -> list[ApiKey]:
    with database.connection() as connection:
        return [_key(row) for row in connection.execute(_queries.list_keys, {"instance": instance})]


def revoke_key(database: Database, key_id: str, now: datetime) -> bool:
    """Whether there was a key to revoke; revoking twice keeps the first time."""
    with database.connection() as connection:
        return connection.execute(_queries.revoke, {"key_id": key_id, "now": now}).rowcount > 0


def _key(row: Sequence[object]) -> ApiKey:
    return msgspec.convert(
        dict(zip(("id", "instance", "scopes", "name", "created_at", "revoked_at"), row[:6], strict=True)),
        ApiKey,
    )


def _is_plain(text: str) -> bool:
    """Whether it holds nothing that no key of ours ever held, NUL and surrogates among it."""
    return text.isascii() and text.isalnum()


def _text(random: bytes) -> str:
    # Base 32 has no underscore, which separates the parts.
    return base64.b32encode(random).decode().rstrip("=").lower()


def _checksum(body: str) -> str:
    return _text(zlib.crc32(body.encode()).to_bytes(4, "big"))


def _hash(text: str) -> bytes:
    # A key holds 256 random bits: a slow hash would add nothing.
    return hashlib.sha256(text.encode()).digest()
