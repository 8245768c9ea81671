"""Codes and credentials, sealed, outside the log: stored only with a new event, gone when they expire."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidTag
from psycopg import Cursor

from event_log.deployment_key import Seal
from event_log.errors import Undecodable
from event_log.sql import load
from notification_domain.secret_fields import REFERENCE

_queries = load("event_log", "secret_store.sql")


class KeptSecret(msgspec.Struct, frozen=True):
    """A sealed secret on its way into the table, beside the event that brought it."""

    id: UUID
    instance: str
    stream: UUID
    version: int
    sealed: bytes
    expires_at: datetime | None


def seal_secret(seal: Seal, secret_id: UUID, value: str) -> bytes:
    return seal.seal(value.encode(), secret_id.bytes)


def keep(cursor: Cursor[Any], secrets: Sequence[KeptSecret]) -> None:
    if secrets:
        cursor.execute(
            _queries.insert,
            {
                "ids": [secret.id for secret in secrets],
                "instances": [secret.instance for secret in secrets],
                "streams": [secret.stream for secret in secrets],
                "versions": [secret.version for secret in secrets],
                "sealed": [secret.sealed for secret in secrets],
                "expiries": [secret.expires_at for secret in secrets],
            },
            prepare=True,
        )


def reveal(cursor: Cursor[Any], seal: Seal, references: Sequence[str]) -> dict[str, str]:
    """Values by reference; one that was used up or has expired is missing. For sending only."""
    ids = [UUID(reference.removeprefix(REFERENCE)) for reference in references if reference]
    if not ids:
        return {}
    cursor.execute(_queries.select, {"ids": ids}, prepare=True)
    try:
        return {
            f"{REFERENCE}{secret_id}": seal.open(bytes(sealed), secret_id.bytes).decode()
            for secret_id, sealed in cursor.fetchall()
        }
    except InvalidTag:
        raise Undecodable(
            "a secret does not open: was TIDINGS_SECRET_KEY (or the secret.key file) changed?"
        ) from None


def is_kept(cursor: Cursor[Any], reference: str, now: datetime) -> bool:
    """Whether a secret can still be revealed, without revealing it."""
    cursor.execute(
        _queries.is_kept, {"id": UUID(reference.removeprefix(REFERENCE)), "now": now}, prepare=True
    )
    row = cursor.fetchone()
    return bool(row and row[0])


def forget(cursor: Cursor[Any], causes: Sequence[tuple[UUID, int]]) -> None:
    """Remove the codes of events (stream, version) that have no open notification left."""
    if causes:
        cursor.execute(
            _queries.forget,
            {"streams": [stream for stream, _ in causes], "versions": [version for _, version in causes]},
            prepare=True,
        )


def forget_expired(cursor: Cursor[Any], now: datetime, limit: int = 1000) -> int:
    """Remove codes whose time is over; how many."""
    cursor.execute(_queries.forget_expired, {"now": now, "limit": limit})
    return cursor.rowcount
