"""Bodies in quoted-printable (RFC 2045, section 6.7), all but the values encoded ahead of time."""

from __future__ import annotations

import binascii
from collections.abc import Mapping

import msgspec

from workers.rendering.placeholders import Parts, Slot

_SOFT_BREAK = b"=\r\n"


class EncodedBody(msgspec.Struct, frozen=True):
    """A body of which only the values are missing."""

    pieces: tuple[bytes, ...]
    """In order, nothing yet where a value belongs."""
    slots: tuple[tuple[int, str], ...]
    """Which pieces are values, and of what."""

    def filled(self, values: Mapping[str, bytes]) -> bytes:
        """``values`` are pieces from ``encoded``."""
        pieces = list(self.pieces)
        for place, name in self.slots:
            pieces[place] = values[name]
        return b"".join(pieces)


def encoded(text: str) -> bytes:
    r"""A piece of a body that any other piece may follow; its lines end with ``\n``, no ``\r`` in it.

    Each piece begins and ends at the start of a line, by a soft break where its own text does not:
    so pieces can be encoded on their own and joined, and no line grows over 76 characters.
    """
    # The letter keeps a place for the soft break's "=" and is cut off again.
    lines = binascii.b2a_qp(text.encode() + b"A")[:-1].replace(b"\n", b"\r\n")
    return lines if not lines or lines.endswith(b"\n") else lines + _SOFT_BREAK


def encoded_body(parts: Parts) -> EncodedBody:
    return EncodedBody(
        pieces=tuple(encoded(part) if isinstance(part, str) else b"" for part in parts),
        slots=tuple((place, part.name) for place, part in enumerate(parts) if isinstance(part, Slot)),
    )
