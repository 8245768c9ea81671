"""The bytes of a mail, held against the standard library's own parser."""

from __future__ import annotations

import quopri
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage, Message
from email.policy import compat32, default
from email.utils import parseaddr, parsedate_to_datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workers.channels.port import Mail
from workers.rendering.errors import HeaderRefused
from workers.rendering.headers import ascii_address, line, unstructured
from workers.rendering.layout import _layout
from workers.rendering.mail import Content, Envelope, Sender, assemble
from workers.rendering.quoted_printable import encoded
from workers.rendering.render import RenderRequest, render
from workers.rendering.variables import shown

DATE = datetime(2026, 11, 21, 9, 30, 5, tzinfo=timezone(timedelta(hours=2)))
SENDER = Sender("no-reply@acme.example", "Acme Login", "help@acme.example")
ENVELOPE = Envelope("<n-1@acme.example>", DATE, SENDER)
ENCODED_WORD_ATTACK = "=?utf-8?q?hi=0ABcc=3A_evil=40x.org?="
NASTY = [
    ENCODED_WORD_ATTACK,
    f"Acme {ENCODED_WORD_ATTACK} Login",
    "a\r\nBcc: evil@x.org",
    "a\nBcc: evil@x.org\n\nbody",
    "a\rBcc: evil@x.org",
    "a\x00b\x0bc\x0cd\x1ce\x85f",
    "a\u2028Bcc: evil@x.org\u2029b",
    "\u202eevil\u2066x\u2069",
    "\ud800 alone",
    '"quoted" \\ name',
    "evil@x.org, <other@x.org>",
    "(comment) name;",
    " leading and trailing ",
    "two  spaces",
    "\u00fc" * 200,
    "\U0001f469\u200d\U0001f467 family",
    "x" * 10_000,
    "\u4f60 " * 5_000,
]
nasty_text = st.one_of(
    st.text(),
    st.text(st.sampled_from(list('\r\n\x00\u2028\u202e=?_ab"<>,@:; \\')), max_size=60),
    st.sampled_from(NASTY),
)

CONTENT = Content("Hello", encoded("Text\n"), encoded("<p>Text</p>\n"))
NAMES = [
    "From", "Reply-To", "To", "Subject", "Date", "Message-ID",
    "MIME-Version", "Auto-Submitted", "Content-Type",
]  # fmt: skip


def mail_request(**changes: str) -> RenderRequest:
    arguments = {"Code": "K7P2QX", "Origin": "https://id.acme.example", "DisplayName": "Ada", **changes}
    return RenderRequest("InviteUser", "email", arguments, recipient="ada@acme.example")


def rendered(request: RenderRequest, envelope: Envelope = ENVELOPE) -> bytes:
    made = render(request, envelope)
    assert isinstance(made, Mail)
    return made.content


def parsed(content: bytes) -> tuple[EmailMessage, Message]:
    """By the modern and by the old rules; both must see the headers we meant, and whole lines."""
    modern = message_from_bytes(content, EmailMessage, policy=default)
    old = message_from_bytes(content, policy=compat32)
    for message in (modern, old):
        assert message.keys() == NAMES
        assert not message.defects
        assert [part.get_content_type() for part in message.walk()] == [
            "multipart/alternative",
            "text/plain",
            "text/html",
        ]
    return modern, old


def old_text(message: Message, name: str) -> str:
    return str(make_header(decode_header(message[name].replace("\r\n", ""))))


def sender_name(raw: str) -> str:
    """The display name of a From header, quoted or in encoded words."""
    if not raw.startswith("=?"):
        return parseaddr(raw)[0]
    return str(make_header(decode_header(raw.rpartition("\r\n <")[0].replace("\r\n", ""))))


def assert_lines_are_sound(content: bytes) -> None:
    assert content.isascii()
    assert b"\x00" not in content
    assert b"\r" not in content.replace(b"\r\n", b"")
    assert b"\n" not in content.replace(b"\r\n", b"")
    head, _, body = content.partition(b"\r\n\r\n")
    assert max(map(len, head.split(b"\r\n"))) <= 78
    assert max(map(len, body.split(b"\r\n"))) <= 76


@settings(deadline=None)
@given(nasty_text)
def test_a_subject_with_any_words_stays_one_header(name: str) -> None:
    content = rendered(mail_request(ApplicationName=name))
    assert_lines_are_sound(content)
    modern, old = parsed(content)
    words = shown(name)
    expected = f"Invitation to {words}".strip() if words.strip() else "You are invited"
    assert modern["Subject"].strip() == expected
    assert old_text(old, "Subject").strip() == expected
    assert modern["Bcc"] is None


@settings(deadline=None)
@given(nasty_text)
@example(ENCODED_WORD_ATTACK)
def test_any_name_of_a_sender_is_kept_whole_or_refused(name: str) -> None:
    try:
        mail = assemble(
            "ada@acme.example", Envelope("<n@x.example>", DATE, Sender("a@x.example", name)), CONTENT
        )
    except HeaderRefused:
        assert not name.isprintable()
        return
    assert_lines_are_sound(mail.content)
    modern = message_from_bytes(mail.content, EmailMessage, policy=default)
    old = message_from_bytes(mail.content, policy=compat32)
    assert modern.keys() == old.keys() == [name for name in NAMES if name != "Reply-To"]
    assert [address.addr_spec for address in modern["From"].addresses] == ["a@x.example"]
    assert sender_name(old["From"]) == name


@settings(deadline=None)
@given(nasty_text)
def test_any_words_in_the_bodies_come_back_whole(name: str) -> None:
    modern, _ = parsed(rendered(mail_request(DisplayName=name)))
    plain, html = modern.get_body(("plain",)), modern.get_body(("html",))
    assert isinstance(plain, EmailMessage)
    assert isinstance(html, EmailMessage)
    greeting = f"Hello {shown(name)}," if shown(name).strip() else "Hello,"
    assert plain.get_content().startswith(f"{greeting}\r\n")
    assert html.get_content().startswith("<!DOCTYPE html>")


@settings(deadline=None)
@given(nasty_text)
def test_any_address_is_taken_whole_or_refused(address: str) -> None:
    try:
        mail = assemble(f"{address}@x.example", ENVELOPE, CONTENT)
    except HeaderRefused as refused:
        assert str(refused) == "an e-mail address is not of the form name@domain"  # noqa: PT017 - either is right
        return
    modern, old = parsed(mail.content)
    assert [found.addr_spec for found in modern["To"].addresses] == [f"{address}@x.example"]
    assert old["To"] == mail.recipient == f"{address}@x.example"


@pytest.mark.parametrize(
    "address",
    [
        "", "ada", "@x.org", "ada@", "a b@x.org", "ada@x.org SIZE=1", "ada@x.org\r\nBcc: e@x.org",
        "a@b@x.org", '"a b"@x.org', "ada@x..org", "ada@-x.org", "ada@x.org.", ".ada@x.org", "a..b@x.org",
        "<ada@x.org>",
        "ada@[127.0.0.1]", "\u00e4da@x.org", "ada@x.org,b@x.org", "=?utf-8?q?a?=@x.org",
        "a@\ud800.org", "a" * 250 + "@x.org", "a@" + "\u00fc" * 300 + ".org",
    ],
)  # fmt: skip
def test_an_address_is_refused_when_it_is_not_name_at_domain(address: str) -> None:
    with pytest.raises(HeaderRefused):
        ascii_address(address)


def test_a_domain_in_other_letters_travels_in_its_ascii_form() -> None:
    assert ascii_address("ada@b\u00fccher.example") == "ada@xn--bcher-kva.example"
    assert ascii_address("o'neil+x@sub.x-y.example") == "o'neil+x@sub.x-y.example"


def test_the_headers_are_complete_and_in_order() -> None:
    modern, _ = parsed(rendered(mail_request(ApplicationName="APP")))
    assert str(modern["From"]) == "Acme Login <no-reply@acme.example>"
    assert modern["Reply-To"] == "help@acme.example"
    assert modern["To"] == "ada@acme.example"
    assert modern["Subject"] == "Invitation to APP"
    assert modern["Message-ID"] == "<n-1@acme.example>"
    assert modern["Auto-Submitted"] == "auto-generated"
    assert modern["Date"] == "Sat, 21 Nov 2026 07:30:05 +0000"
    assert parsedate_to_datetime(modern["Date"]) == DATE


def test_the_check_of_headers_sees_a_smuggled_one() -> None:
    smuggled = rendered(mail_request()).replace(b"Subject: ", b"Bcc: evil@x.org\r\nSubject: ")
    with pytest.raises(AssertionError):
        parsed(smuggled)


def test_the_same_input_gives_the_same_bytes() -> None:
    assert rendered(mail_request()) == rendered(mail_request())
    later = Envelope("<n-2@acme.example>", DATE, SENDER)
    assert rendered(mail_request()) != rendered(mail_request(), later)


@pytest.mark.parametrize("value", ["a\r\nBcc: b", "a\nb", "a\r\n \r\n b", "\x00", "\u00fc"])
def test_no_header_line_is_written_that_would_break(value: str) -> None:
    with pytest.raises(HeaderRefused, match="X-Any"):
        line("X-Any", value)


def test_a_date_without_a_zone_is_refused() -> None:
    with pytest.raises(HeaderRefused, match="time zone"):
        assemble("a@x.example", Envelope("<n@x.example>", DATE.replace(tzinfo=None), SENDER), CONTENT)


@pytest.mark.parametrize(
    "message_id",
    ["", "n@x", "<n>", "<n@x>\r\nBcc: e@x.org", "<a b@x>", "<=?utf-8?q?a?=@x>", "<\ud800@x>", "<@>"],
)
def test_a_message_id_is_refused_when_it_is_none(message_id: str) -> None:
    with pytest.raises(HeaderRefused, match="Message-ID"):
        assemble("a@x.example", Envelope(message_id, DATE, SENDER), CONTENT)


def test_headers_of_the_provider_are_on_the_message() -> None:
    envelope = Envelope("<n@x.example>", DATE, SENDER, (("X-Instance", "i-1"), ("X-Tag", "a, b")))
    modern = message_from_bytes(rendered(mail_request(), envelope), policy=default)
    assert (modern["X-Instance"], modern["X-Tag"]) == ("i-1", "a, b")


@pytest.mark.parametrize(
    "extra",
    [
        (("Bcc", "e@x.org"),),
        (("FROM", "e@x.org"),),
        (("Content-Type", "text/html"),),
        (("X A", "b"),),
        (("X-A:", "b"),),
        (("", "b"),),
        (("X-A", "b\r\nBcc: e@x.org"),),
        (("X-A", ENCODED_WORD_ATTACK),),
        (("X-A", "\u00fc"),),
        (("X-A", "b" * 1000),),
        (("X-A", "b"), ("x-a", "c")),
    ],
)
def test_a_header_of_the_provider_is_refused_when_it_is_ours_doubled_or_broken(
    extra: tuple[tuple[str, str], ...],
) -> None:
    with pytest.raises(HeaderRefused):
        rendered(mail_request(), Envelope("<n@x.example>", DATE, SENDER, extra))


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.text(st.characters(codec="utf-8", exclude_characters="\r")), st.just(" \n.\n=\t ")))
)
@example(["x" * 75, "\u00fc" * 25, " ", "\n", ".", "", "From x"])
def test_pieces_encoded_apart_decode_to_the_whole(pieces: list[str]) -> None:
    body = b"".join(map(encoded, pieces))
    assert quopri.decodestring(body).replace(b"\r\n", b"\n").decode() == "".join(pieces)
    lines = body.split(b"\r\n")
    assert max(map(len, lines)) <= 76
    assert not any(line.endswith((b" ", b"\t")) for line in lines)
    assert body.isascii()
    assert b"\n" not in body.replace(b"\r\n", b"")


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp"))))
def test_encoded_words_keep_within_their_line_and_decode_to_the_whole(text: str) -> None:
    value = unstructured(text)
    assert all(len(line) <= 67 for line in value.split("\r\n "))
    if text.strip():
        assert str(make_header(decode_header(value.replace("\r\n", "")))) == text


def test_the_layout_has_no_functions_to_call_and_escapes_by_itself() -> None:
    environment = _layout().environment
    assert (environment.globals, environment.tests, list(environment.filters)) == ({}, {}, ["safe"])
    assert environment.from_string("{{ a }}").render(a="<b>") == "&lt;b&gt;"


def test_the_sender_of_the_envelope_is_the_profiles_bare_address() -> None:
    mail = assemble(
        "ada@acme.example", Envelope("<n@x.example>", datetime(2026, 1, 1, tzinfo=UTC), SENDER), CONTENT
    )
    assert (mail.sender, mail.recipient) == ("no-reply@acme.example", "ada@acme.example")
