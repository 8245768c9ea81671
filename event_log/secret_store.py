"""Codes and credentials, sealed, outside the log: stored only with a new event, gone when they expire."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidTag
from psycopg import Cursor

from event_log.deployment_key import Seal
from event_log.sql import load
from notification_domain.secret_fields import REFERENCE

_queries = load("event_log", "secret_store.sql")
_logger = logging.getLogger(__name__)


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
    """Values by reference; one that was used up, has expired or was altered is missing. For sending only."""
    ids = [UUID(reference.removeprefix(REFERENCE)) for reference in references if reference]
    if not ids:
        return {}
    cursor.execute(_queries.select, {"ids": ids}, prepare=True)
    opened = {secret_id: _opened(seal, secret_id, bytes(sealed)) for secret_id, sealed in cursor.fetchall()}
    return {f"{REFERENCE}{secret_id}": value for secret_id, value in opened.items() if value is not None}


def _opened(seal: Seal, secret_id: UUID, sealed: bytes) -> str | None:
    try:
        return seal.open(sealed, secret_id.bytes).decode()
    except InvalidTag:
        _logger.error("the secret %s was altered and does not open", secret_id)  # noqa: TRY400  # says all
        return None


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
