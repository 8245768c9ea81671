"""The signed token that continues a list: where it stopped, for which filters, of which instance.

Only the place is in the token; filters and instance are bound by the signature, so that a cursor
goes with one list alone and nothing of it can be altered.
"""

from __future__ import annotations

import base64
import binascii
import hmac

from api.problems import INVALID_CURSOR, Refused

_PLACE_BYTES = 8
_SIGNATURE_BYTES = 16


class CursorSigner:
    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, place: int, listed: bytes) -> str:
        """A cursor for the list that ``listed`` describes, after the row at ``place``."""
        payload = place.to_bytes(_PLACE_BYTES, "big")
        return base64.urlsafe_b64encode(payload + self._signature(payload, listed)).rstrip(b"=").decode()

    def read(self, cursor: str, listed: bytes) -> int:
        """The place. Raises Refused for a cursor of another list or one that was altered."""
        token = _decoded(cursor)
        payload, signature = token[:_PLACE_BYTES], token[_PLACE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(payload, listed)):
            raise Refused(INVALID_CURSOR, "The cursor does not belong to this list; begin again without one.")
        return int.from_bytes(payload, "big")

    def _signature(self, payload: bytes, listed: bytes) -> bytes:
        return hmac.digest(self._key, payload + listed, "sha256")[:_SIGNATURE_BYTES]


def _decoded(cursor: str) -> bytes:
    try:
        token = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        token = b""
    # Base64 leaves spare bits: only the one spelling that we gave is taken.
    return token if base64.urlsafe_b64encode(token).rstrip(b"=").decode() == cursor else b""
