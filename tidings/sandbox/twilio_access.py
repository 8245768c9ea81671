"""HTTP Basic authentication: any user with any password will do, but not none."""

from __future__ import annotations

import base64
import binascii

import msgspec
from aiohttp import web


class Credentials(msgspec.Struct, frozen=True):
    user: str
    password: str


def credentials_of(request: web.Request) -> Credentials | None:
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return Credentials(user, password) if user and password else None
