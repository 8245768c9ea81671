from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.channels.addresses import Unfit, wire_address


@pytest.mark.parametrize(
    ("address", "wire"),
    [
        ("ada@example.org", b"ada@example.org"),
        ("ada.lovelace+tidings@mail.example.org", b"ada.lovelace+tidings@mail.example.org"),
        ("o'brien@example.org", b"o'brien@example.org"),
        ("root@localhost", b"root@localhost"),
        ("x@straße.de", b"x@xn--strae-oqa.de"),
        ("x@BÜCHER.example", b"x@xn--bcher-kva.example"),
        ("grün@example.org", "grün@example.org".encode()),
        ("x@xn--bcher-kva.example", b"x@xn--bcher-kva.example"),
        ("a" * 64 + "@example.org", b"a" * 64 + b"@example.org"),
    ],
)
def test_address_goes_to_the_wire_when_it_is_plain(address: str, wire: bytes) -> None:
    assert wire_address(address) == wire


@pytest.mark.parametrize(
    "address",
    [
        "",
        "@",
        "ada",
        "@example.org",
        "ada@",
        "b@y.org SIZE=1",
        "b@y.org> SIZE=1",
        "b @y.org",
        "b@ y.org",
        " b@y.org",
        "b@y.org\r\nRCPT TO:<c@z.org>",
        "b@y.org\n",
        "b\x00@y.org",
        "b\u202e@y.org",
        "b\u00a0c@y.org",
        "b\udc80@y.org",
        "b@\udc80.org",
        '"b c"@y.org',
        '"b"@y.org',
        "<b@y.org>",
        "B <b@y.org>",
        "b@c@y.org",
        ".b@y.org",
        "b.@y.org",
        "b..c@y.org",
        "b@y..org",
        "b@.org",
        "b@y.org.",
        "b@-y.org",
        "b@y-.org",
        "b@y_z.org",
        "b@[127.0.0.1]",
        "b@y.org,c@z.org",
        "b@☃☃\u200d.org",
        "a" * 65 + "@example.org",
        "ü" * 33 + "@example.org",
        "a@" + "b" * 64 + ".org",
        "a@" + ".".join(["b" * 60] * 5),
        "a@" + "ü" * 10_000,
    ],
)
def test_address_is_refused_with_a_reason_when_it_is_not(address: str) -> None:
    refusal = wire_address(address)
    assert isinstance(refusal, Unfit)
    assert refusal.why


@given(st.text() | st.from_regex(r"[ -~\u0080-\u00ff]+@[ -~\u0080-\u00ff]+\.[a-z ]+"))
def test_accepted_address_is_one_argument_whatever_it_holds(address: str) -> None:
    accepted = wire_address(address)
    if not isinstance(accepted, Unfit):
        wire = accepted.decode()
        assert wire.isprintable()
        assert len(wire.encode()) <= 254
        assert not set(wire) & set(' <>"\\,;:()[]')
        assert wire.count("@") == 1
