"""Bodies in quoted-printable (RFC 2045, section 6.7), all but the values encoded ahead of time."""

from __future__ import annotations

import binascii
from collections.abc import Callable
from typing import TypeAlias

from workers.rendering.placeholders import Parts, Slot

EncodedParts: TypeAlias = tuple[bytes | Slot, ...]

_SOFT_BREAK = b"=\r\n"


def encoded(text: str) -> bytes:
    r"""A piece of a body that any other piece may follow; its lines end with ``\n``, no ``\r`` in it.

    Each piece begins and ends at the start of a line, by a soft break where its own text does not:
    so pieces can be encoded on their own and joined, and no line grows over 76 characters.
    """
    # The letter keeps a place for the soft break's "=" and is cut off again.
    lines = binascii.b2a_qp(text.encode() + b"A")[:-1].replace(b"\n", b"\r\n")
    return lines if not lines or lines.endswith(b"\n") else lines + _SOFT_BREAK


def encoded_parts(parts: Parts) -> EncodedParts:
    return tuple(encoded(part) if isinstance(part, str) else part for part in parts)


def fill_encoded(parts: EncodedParts, value: Callable[[str], str]) -> bytes:
    return b"".join([part if isinstance(part, bytes) else encoded(value(part.name)) for part in parts])
