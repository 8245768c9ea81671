"""Where providers call back: an address for each attempt that only we can make and no stranger can read.

It holds the notification and the attempt, sealed under a key of the deployment: no personal data, nothing
to guess, and nothing to look up before it is known to be ours.
"""

from __future__ import annotations

import base64
import binascii
import struct
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidTag

from event_log.deployment_key import Seal

TWILIO_PATH = "/v1/callbacks/twilio/"
"""A reference follows."""

_PURPOSE = b"callback reference"
_FORM = struct.Struct(">16sI")
_LONGEST = 200


class Reference(msgspec.Struct, frozen=True):
    notification: UUID
    attempt: int


def seal_reference(seal: Seal, reference: Reference) -> str:
    """Letters, digits, ``-`` and ``_``; another one each time."""
    sealed = seal.seal(_FORM.pack(reference.notification.bytes, reference.attempt), _PURPOSE)
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def open_reference(seal: Seal, text: str) -> Reference | None:
    """None for everything that we have not sealed ourselves."""
    if len(text) > _LONGEST:
        return None
    try:
        sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        notification, attempt = _FORM.unpack(seal.open(sealed, _PURPOSE))
    except (ValueError, binascii.Error, struct.error, InvalidTag):
        return None
    return Reference(UUID(bytes=notification), attempt)
