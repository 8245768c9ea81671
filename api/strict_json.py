"""JSON as RFC 8259 and I-JSON (RFC 7493) mean it, within limits, or a refusal that says where.

Most documents are proven clean by a few passes in C; only those that are not are examined value by value,
which is slower but finds the place. Both ways accept and refuse the same documents.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any, NoReturn

import msgspec

MAX_DEPTH = 16
MAX_KEYS = 1_000
MAX_STRING = 16 * 1024
"""Bytes of UTF-8 in one string or one name."""
MAX_INTEGER = 2**63 - 1

_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_ONLY_DIGITS = bytes(ord("0") if chr(byte).isdigit() and byte < 128 else ord(".") for byte in range(256))  # noqa: PLR2004  # ASCII
_SHORTEST_LONG_INTEGER = b"0" * 19
_NO_SURROGATE = re.compile("[^\ud800-\udfff]*")

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Malformed(Exception):
    """Not JSON as we take it; ``pointer`` (RFC 6901) is where, empty for the document as a whole."""

    def __init__(self, detail: str, pointer: str = "") -> None:
        super().__init__(f"{pointer}: {detail}" if pointer else detail)
        self.pointer = pointer
        self.detail = detail


def read(document: bytes) -> Any:  # noqa: ANN401  # any JSON value
    """The value of a document. Raises Malformed."""
    try:
        value = _decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        _refuse(document)
    return value if _is_clean(document, value) else _examined(document)


def split(document: bytes) -> list[bytes]:
    """The elements of an array, each still a document to be read. Raises Malformed."""
    try:
        return [bytes(element) for element in _split(document)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = _examined(document)
        what = "is not valid JSON" if isinstance(value, list) else f"must be an array, not {kind_of(value)}"
        raise Malformed(what) from None


def pointer_to(steps: Iterable[str | int]) -> str:
    """A JSON pointer from its steps."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)


def kind_of(value: object) -> str:
    """What JSON calls a value, with its article."""
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array"}
    return "null" if value is None else kinds.get(type(value), "an object")


def _is_clean(document: bytes, value: object) -> bool:
    """Whether the cheap signs prove that nothing is wrong; False only says that they do not."""
    colons = document.count(b":")
    return (
        len(document) <= MAX_STRING
        and colons <= MAX_KEYS
        and document.count(b"{") + document.count(b"[") <= MAX_DEPTH
        and b"\\u00" not in document  # no NUL, and no colon that only decoding shows
        and _SHORTEST_LONG_INTEGER not in document.translate(_ONLY_DIGITS)
        # Decoding drops all but the last of equal names: encoded again, a colon is missing.
        and colons == _encode(value).count(b":")
    )


def _refuse(document: bytes) -> NoReturn:
    _examined(document)
    raise Malformed("is not valid JSON")


def _examined(document: bytes) -> Any:  # noqa: ANN401  # any JSON value
    text = _text(document)
    try:
        value = json.loads(
            text, object_pairs_hook=_Pairs, parse_int=_Digits, parse_float=_number, parse_constant=_constant
        )
    except json.JSONDecodeError as error:
        raise Malformed(
            f"is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise _too_deep() from None
    return _Examination().value(value, ())


def _text(document: bytes) -> str:
    if document.startswith(_BOMS):
        raise Malformed("must be UTF-8 without a byte order mark")
    try:
        text = document.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"is not valid UTF-8 at byte {error.start}") from None
    if "\0" in text:
        raise Malformed("holds NUL bytes: it must be UTF-8")
    return text


def _too_deep(pointer: str = "") -> Malformed:
    return Malformed(f"is nested more than {MAX_DEPTH} deep", pointer)


class _Pairs(list[tuple[str, Any]]):
    """The members of an object as they stood, repeated names and all."""


class _Digits(str):
    """An integer before anyone has paid for converting it."""

    __slots__ = ()


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Malformed(f"the number {text[:20]} is out of range")
    return number


def _constant(name: str) -> NoReturn:
    raise Malformed(f"is not valid JSON: {name} is not a JSON value")


class _Examination:
    """Walks a document once; knows where it is and how many names it has met."""

    def __init__(self) -> None:
        self._keys = 0

    def value(self, value: object, steps: tuple[str | int, ...]) -> Any:  # noqa: ANN401  # any JSON value
        match value:
            case _Pairs():
                return self._object(value, steps)
            case list():
                self._check_depth(steps)
                return [self.value(item, (*steps, index)) for index, item in enumerate(value)]
            case _Digits():
                return _integer(value, steps)
            case str():
                return _string(value, steps)
            case _:
                return value

    def _object(self, pairs: _Pairs, steps: tuple[str | int, ...]) -> dict[str, Any]:
        self._check_depth(steps)
        self._keys += len(pairs)
        if self._keys > MAX_KEYS:
            raise Malformed(f"has more than {MAX_KEYS} names", pointer_to(steps))
        members: dict[str, Any] = {}
        for name, value in pairs:
            _string(name, steps)
            if name in members:
                raise Malformed("is given twice", pointer_to((*steps, name)))
            members[name] = self.value(value, (*steps, name))
        return members

    def _check_depth(self, steps: tuple[str | int, ...]) -> None:
        if len(steps) >= MAX_DEPTH:
            raise _too_deep(pointer_to(steps))


def _integer(digits: str, steps: tuple[str | int, ...]) -> int:
    number = int(digits) if len(digits) <= len(str(MAX_INTEGER)) + 1 else None
    if number is None or not -MAX_INTEGER - 1 <= number <= MAX_INTEGER:
        raise Malformed("is an integer outside 64 bits", pointer_to(steps))
    return number


def _string(text: str, steps: tuple[str | int, ...]) -> str:
    if not _NO_SURROGATE.fullmatch(text):
        raise Malformed("holds a lone surrogate", pointer_to(steps))
    if "\0" in text:
        raise Malformed("holds a NUL character", pointer_to(steps))
    if len(text.encode()) > MAX_STRING:
        raise Malformed(f"is longer than {MAX_STRING} bytes", pointer_to(steps))
    return text
