"""Which fields of a caller's payload must never reach the log, and what stands in their place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import msgspec

from notification_domain.identity import secret_id
from notification_domain.source_events import pointer_to

REFERENCE = "secret:"
"""A stored field that begins so names a secret instead of holding it."""

# As ``_plain`` spells them, for camel case and snake case are read alike.
_CODE = frozenset({"code"})
_CREDENTIALS = frozenset({"password", "token", "signingkey", "clientsecret"})
_PASSWORDS = frozenset({"secret", "encodedhash", "password"})
_PASSWORD_TYPES = frozenset({"added", "selfregistered", "changed"})


class Secret(msgspec.Struct, frozen=True):
    """A value to be kept outside the log; ``lasting`` ones (provider credentials) have no expiry."""

    id: UUID
    pointer: str
    value: str
    lasting: bool = False


def split(
    event: UUID, event_type: str, payload: Mapping[str, Any], named: Iterable[str] = ()
) -> tuple[dict[str, Any], tuple[Secret, ...]]:
    """The payload as the log may keep it, and the secrets taken out of it.

    ``named`` are the top-level fields a caller declared secret. Password hashes are not even kept as
    secrets: only the fact that a password is set stays.
    """
    public = _without_passwords(event_type, payload)
    secrets: list[Secret] = []
    lasting = event_type.startswith(("instance.smtp.config", "instance.sms.config"))
    fields = _CODE | (_CREDENTIALS if lasting else frozenset()) | {_plain(name) for name in named}
    return _taken_out(event, public, fields, secrets, lasting=lasting), tuple(secrets)


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _without_passwords(event_type: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
    parts = event_type.split(".")
    if parts[0] != "user" or parts[-1] not in _PASSWORD_TYPES:
        return payload
    passwords = [name for name in payload if _plain(name) in _PASSWORDS]
    if not passwords:
        return payload
    return {name: value for name, value in payload.items() if name not in passwords} | {"password_set": True}


def _taken_out(
    event: UUID,
    payload: Mapping[str, Any],
    fields: frozenset[str],
    secrets: list[Secret],
    *,
    lasting: bool,
    path: str = "",
) -> dict[str, Any]:
    public: dict[str, Any] = {}
    for name, value in payload.items():
        if _plain(name) in fields and value not in (None, ""):
            pointer = path + pointer_to(name)
            secret = Secret(secret_id(event, pointer), pointer, _text(value), lasting)
            secrets.append(secret)
            public[name] = f"{REFERENCE}{secret.id}"
        elif lasting and isinstance(value, dict):
            public[name] = _taken_out(
                event, value, fields, secrets, lasting=lasting, path=path + pointer_to(name)
            )
        else:
            public[name] = value
    return public


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
