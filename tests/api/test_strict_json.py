from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import strict_json
from api.strict_json import MAX_DEPTH, MAX_INTEGER, MAX_KEYS, MAX_STRING, Malformed, read, split

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER - 1, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)
    | TEXT
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
).filter(lambda value: depth(value) <= MAX_DEPTH)


def depth(value: object) -> int:
    match value:
        case dict():
            return 1 + max(map(depth, value.values()), default=0)
        case list():
            return 1 + max(map(depth, value), default=0)
        case _:
            return 0


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_whatever_json_writes_within_the_limits_is_read_back_equal(
    value: Any, escaped: bool, indent: int | None
) -> None:
    document = json.dumps(value, ensure_ascii=escaped, indent=indent).encode()
    assert read(document) == value
    assert strict_json._examined(document) == value


@given(st.lists(VALUES, max_size=4))
def test_an_array_is_split_into_documents_that_read_back_equal(values: list[Any]) -> None:
    assert [read(document) for document in split(json.dumps(values, indent=1).encode())] == values


@given(st.binary(max_size=40) | st.text('[]{}",:\\0123.eE-untrlfasdb/ \t', max_size=40).map(str.encode))
def test_the_quick_way_and_the_thorough_one_agree_on_any_bytes(document: bytes) -> None:
    assert outcome(read, document) == outcome(strict_json._examined, document)


@given(SCALARS | st.lists(SCALARS, max_size=3), TEXT, SCALARS)
def test_a_name_given_twice_is_refused_wherever_it_stands(value: Any, name: str, other: Any) -> None:
    key = json.dumps(name)
    document = f'{{"a": [{json.dumps(value)}, {{{key}: {json.dumps(other)}, "x~/": 0, {key}: 1}}]}}'.encode()
    with pytest.raises(Malformed) as refused:
        read(document)
    assert refused.value.pointer == strict_json.pointer_to(("a", 1, name))


def outcome(reader: Any, document: bytes) -> object:
    try:
        return repr(reader(document))
    except Malformed:
        return "refused"


REFUSED = [
    (b"", "is not valid JSON"),
    (b"{} {}", "is not valid JSON"),
    (b"{'a': 1}", "is not valid JSON"),
    (b'{"a": 1,}', "is not valid JSON"),
    (b'{"a": 01}', "is not valid JSON"),
    (b'{"a": NaN}', "NaN"),
    (b'{"a": -Infinity}', "-Infinity"),
    (b'{"a": 1e999}', "out of range"),
    (b'{"a": -1e999}', "out of range"),
    (b'{"a": 9223372036854775808}', "/a: is an integer outside 64 bits"),
    (b'{"a": [1, ' + b"9" * 5000 + b"]}", "/a/1: is an integer outside 64 bits"),
    (b'{"a": "\\u0000"}', "/a: holds a NUL character"),
    (b'{"a\\u0000b": 1}', "holds a NUL character"),
    (b'{"a": "\x00"}', "NUL"),
    (b'{"a": "\x01"}', "is not valid JSON"),
    (b'{"a": "\\ud800"}', "/a: holds a lone surrogate"),
    (b'{"a": "\\udc00\\ud800"}', "/a: holds a lone surrogate"),
    (b'{"\\ud800": 1}', "holds a lone surrogate"),
    (b'{"a": "\xff"}', "is not valid UTF-8 at byte 7"),
    (b'{"a": "\xed\xa0\x80"}', "is not valid UTF-8"),
    (b"\xef\xbb\xbf{}", "byte order mark"),
    ('{"a": 1}'.encode("utf-16"), "byte order mark"),
    ('{"a": 1}'.encode("utf-16-le"), "NUL"),
    ('{"a": 1}'.encode("utf-32-be"), "NUL"),
    (b'{"a": 1, "a": 1}', "/a: is given twice"),
    (b'{"a": 1, "\\u0061": 1}', "/a: is given twice"),
    (b'{"a": "\\u003a", "a": "::"}', "/a: is given twice"),
    (b'{"x": {"a/b~c": 1, "a/b~c": 2}}', "/x/a~1b~0c: is given twice"),
    (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "is nested more than 16 deep"),
    (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "is nested more than 16 deep"),
    (b"[" * 100_000, "is nested more than 16 deep"),
    (b'{"a":' * 100_000, "is nested more than 16 deep"),
    (json.dumps({str(number): 0 for number in range(MAX_KEYS + 1)}).encode(), "more than 1000 names"),
    (json.dumps({"a": "é" * (MAX_STRING // 2 + 1)}).encode(), "/a: is longer than 16384 bytes"),
    (json.dumps({"é" * (MAX_STRING // 2 + 1): 1}).encode(), "is longer than 16384 bytes"),
]


@pytest.mark.parametrize(("document", "reason"), REFUSED, ids=range(len(REFUSED)))
def test_it_is_refused_with_its_place(document: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as refused:
        read(document)
    assert reason in str(refused.value)


def test_what_just_fits_is_taken() -> None:
    value = {"a": "x" * MAX_STRING, **{str(number): 0 for number in range(MAX_KEYS - 1)}}
    assert read(json.dumps(value).encode()) == value
    deep = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert depth(read(deep)) == MAX_DEPTH


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"{}", "must be an array, not an object"),
        (b'"x"', "must be an array, not a string"),
        (b"[1,]", "is not valid JSON"),
        (b"[" * 4_000_000, "is nested more than 16 deep"),
        (b"[1e400", "out of range"),
        (b"[1e400]x", "out of range"),
    ],
)
def test_what_is_no_array_is_not_split(document: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        split(document)
