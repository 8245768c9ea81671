from __future__ import annotations

import asyncio
from email.message import EmailMessage

import aiosmtplib
import pytest

from tests.sandbox.sandbox_clients import ENVELOPE, MAIL, Talker, Web
from tidings.sandbox.server import SandboxAddress

pytestmark = pytest.mark.usefixtures("address")


def a_mail() -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = "Tidings <no-reply@example.org>"
    mail["To"] = "anna@example.org"
    mail["Subject"] = "Grüße aus Zürich"
    mail.set_content("Ihr Code lautet 123456.\n.ein Punkt\n")
    mail.add_alternative(
        "<p>Ihr Code lautet <b>123456</b>, schön.</p>\n", subtype="html", cte="quoted-printable"
    )
    return mail


async def test_mail_is_listed_with_its_parts_when_a_client_library_sent_it(
    address: SandboxAddress, web: Web
) -> None:
    async with aiosmtplib.SMTP(hostname=address.host, port=address.smtp_port) as client:
        await client.login("user", "password")
        await client.send_message(a_mail())
    (item,) = await web.messages()
    assert item["channel"] == "email"
    assert (item["from"], item["to"]) == ("no-reply@example.org", ["anna@example.org"])
    assert item["subject"] == "Grüße aus Zürich"
    assert item["text"] == "Ihr Code lautet 123456.\n.ein Punkt\n"
    assert item["html"] == "<p>Ihr Code lautet <b>123456</b>, schön.</p>\n"
    assert item["headers"]["To"] == ["anna@example.org"]
    assert item["received_at"].endswith("Z")
    assert await web.get(f"/sandbox/messages/{item['id']}") == item


async def test_a_whole_group_is_answered_when_commands_are_pipelined(talker: Talker, web: Web) -> None:
    await talker.hear()
    await talker.ask(ENVELOPE[0])
    talker.say(*ENVELOPE[1:])
    answers = [(await talker.hear())[:3] for _ in range(3)]
    talker.say(MAIL.encode() + b".\r\n", *ENVELOPE[1:], MAIL.encode() + b".\r\n", "QUIT")
    answers += [(await talker.hear())[:3] for _ in range(6)]
    assert answers == ["250", "250", "354", "250", "250", "250", "354", "250", "221"]
    assert len(await web.messages()) == 2


async def test_all_is_answered_when_the_client_says_more_than_is_read_ahead_and_then_no_more(
    address: SandboxAddress,
) -> None:
    reader, writer = await asyncio.open_connection(address.host, address.smtp_port)
    writer.write(b"NOOP\r\n" * 100_000 + b"QUIT\r\n")
    writer.write_eof()
    answers = (await reader.read(-1)).splitlines()
    assert [answer[:3] for answer in answers] == [b"220", *[b"250"] * 100_000, b"221"]
    writer.close()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("MAIL FROM:<>", "250"),
        ("MAIL FROM:<a@example.org> SIZE=10 BODY=8BITMIME", "250"),
        ("MAIL FROM:<ä@example.org> SMTPUTF8", "250"),
        ("MAIL FROM:<ä@example.org>", "553"),
        ("MAIL FROM:<a@example.org> SIZE=99999999999", "552"),
        ("MAIL FROM:<a@example.org> SIZE=much", "501"),
        ("MAIL FROM:<a@example.org> COLOUR=red", "555"),
        ("MAIL FROM:<a@example.org> BODY=BINARY", "501"),
        ("MAIL a@example.org", "501"),
        ("MAIL FROM:<nobody>", "553"),
        ("RCPT TO:<b@example.org>", "503"),
        ("DATA", "503"),
        ("AUTH PLAIN AHUAcA==", "235"),
        ("AUTH PLAIN AAAA", "535"),
        ("AUTH SCRAM-SHA-256", "504"),
        ("VRFY b", "252"),
        ("RSET", "250"),
        ("NOOP", "250"),
        ("HELO", "501"),
        ("HELO probe.example", "250"),
        ("EXPLODE", "500"),
        (b"MAIL FROM:<\xff@example.org>\r\n", "500"),
        ("x" * 10_000, "500"),
        ("QUIT", "221"),
    ],
)
async def test_a_command_is_answered_with_its_code_when_it_follows_ehlo(
    talker: Talker, line: str | bytes, code: str
) -> None:
    talker.say("EHLO probe.example")
    assert [(await talker.hear())[:3] for _ in range(2)] == ["220", "250"]
    assert (await talker.ask(line))[:3] == code


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("RCPT TO:<b@example.org>", "250"),
        ("RCPT TO:<@relay.example:b@example.org>", "250"),
        ("RCPT TO:<postmaster>", "250"),
        ("RCPT TO:<ä@example.org>", "553"),
        ("RCPT TO:<b@example.org> SIZE=1", "555"),
        ("RCPT TO:<b b@example.org>", "553"),
        ("DATA", "554"),
        ("MAIL FROM:<a@example.org>", "503"),
    ],
)
async def test_a_command_is_answered_with_its_code_when_it_follows_mail(
    talker: Talker, line: str, code: str
) -> None:
    await talker.hear()
    await talker.ask(*ENVELOPE[:2])
    assert (await talker.ask(line))[:3] == code


async def test_mail_is_refused_when_nobody_said_hello(talker: Talker) -> None:
    assert (await talker.ask("NOOP", ENVELOPE[1])).startswith("250")
    assert (await talker.hear()).startswith("503")


async def test_login_asks_for_both_words_when_the_client_gives_none(talker: Talker) -> None:
    await talker.hear()
    assert await talker.ask("EHLO probe.example", "AUTH LOGIN", "dXNlcg==", "c2VjcmV0") == "235 2.7.0 Welcome"


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (b".\r\n", ""),
        (b"\r\n\r\n.\r\n", "\n"),
        (b"\r\n..stuffed\r\n.\r\n", ".stuffed\n"),
        (b"\r\nfirst\n.\nMAIL FROM:<x@example.org>\r\n.\r\n", "first\n.\nMAIL FROM:<x@example.org>\n"),
        (b"\r\nfirst\r\n.\nsecond\r\n.\r\n", "first\n\nsecond\n"),
    ],
)
async def test_only_a_whole_dot_line_ends_a_mail_when_bodies_are_odd(
    talker: Talker, web: Web, written: bytes, kept: str
) -> None:
    await talker.hear()
    await talker.ask(*ENVELOPE)
    assert (await talker.ask(written)).startswith("250")
    assert [item["text"] for item in await web.messages()] == [kept]


async def test_a_mail_is_whole_when_it_comes_byte_by_byte(talker: Talker, web: Web) -> None:
    await talker.hear()
    await talker.ask(*ENVELOPE)
    for byte in (MAIL + ".\r\n").encode():
        talker.say(bytes([byte]))
        await asyncio.sleep(0)
    assert (await talker.hear()).startswith("250")
    assert (await web.messages())[0]["text"] == "Good morning.\n"


async def test_a_mail_is_refused_and_the_next_taken_when_it_is_too_long(talker: Talker, web: Web) -> None:
    await talker.hear()
    await talker.ask(*ENVELOPE)
    talker.say(b"x" * 27_000_000 + b"\r\n.\r\n")
    assert (await talker.hear()).startswith("552")
    assert (await talker.ask(*ENVELOPE[1:], MAIL.encode() + b".\r\n")).startswith("250")
    assert len(await web.messages()) == 1


async def test_every_mail_is_kept_once_when_many_arrive_together(address: SandboxAddress, web: Web) -> None:
    async def send(name: str) -> None:
        await aiosmtplib.send(
            MAIL, sender="a@example.org", recipients=[f"{name}@example.org"],
            hostname=address.host, port=address.smtp_port,
        )  # fmt: skip

    await asyncio.gather(*(send(f"user{number}") for number in range(40)))
    listing = await web.get("/sandbox/messages?limit=100000")
    assert listing["count"] == 40
    assert len({item["to"][0] for item in listing["items"]}) == 40
