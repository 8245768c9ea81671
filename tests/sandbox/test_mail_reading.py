from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.sandbox.mail_reading import ReadMail, read_mail

MULTIPART = b"""\
Subject: =?utf-8?b?R3LDvMOfZQ==?= =?iso-8859-1?q?_aus_Z=FCrich?=
Received: one
Received: two
X-Folded: first
 second
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=outer

--outer
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Gr=FC=DFe, =
lange Zeile
--inner
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: base64

PHA+R3LDvMOfZTwvcD4=
--inner--
--outer
Content-Type: text/plain
Content-Disposition: attachment; filename=x.txt

not this
--outer--
""".replace(b"\n", b"\r\n")


def test_both_parts_are_found_when_a_mail_has_alternatives_and_an_attachment() -> None:
    mail = read_mail(MULTIPART)
    assert mail.subject == "Grüße aus Zürich"
    assert mail.text == "Grüße, lange Zeile"
    assert mail.html == "<p>Grüße</p>"
    assert mail.headers["Received"] == ["one", "two"]
    assert mail.headers["X-Folded"] == ["first second"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ReadMail({}, None, "", None)),
        ("Subject: Grüße\r\n\r\nö\r\n".encode(), ReadMail({"Subject": ["Grüße"]}, "Grüße", "ö\n", None)),
        (b"sUbJeCt: x\r\n\r\n\xff", ReadMail({"sUbJeCt": ["x"]}, "x", "\ufffd", None)),
        (
            b"Subject: =?no-such?q?x?=\r\n\r\n",
            ReadMail({"Subject": ["=?no-such?q?x?="]}, "=?no-such?q?x?=", "", None),
        ),
    ],
)
def test_a_mail_is_shown_as_well_as_may_be_when_it_is_odd(content: bytes, expected: ReadMail) -> None:
    assert read_mail(content) == expected


def test_utf8_is_tried_when_a_charset_is_unknown() -> None:
    assert read_mail("Content-Type: text/plain; charset=klingon\r\n\r\nö".encode()).text == "ö"


_PIECES = [
    b"Subject:",
    b"Content-Type:",
    b" multipart/mixed; boundary=b",
    b"--b",
    b"--b--",
    b"\r\n",
    b"\r\n\r\n",
    b"Content-Transfer-Encoding: base64",
    b"=?utf-8?q?=ff?=",
    b"=?x?b?!?=",
    b" text/plain; charset*=a'b'%ff",
    b'; charset="\x00"',
    b"message/rfc822",
    b" text/html",
    b"begin 644 x",
    b":",
]


@given(st.lists(st.sampled_from(_PIECES) | st.binary(max_size=9)).map(b"".join))
def test_reading_never_fails_when_a_mail_is_nonsense(content: bytes) -> None:
    assert isinstance(read_mail(content), ReadMail)
