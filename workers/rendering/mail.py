"""The bytes of an e-mail, put together here: the library's message object costs forty times as much."""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import lru_cache

import msgspec

from workers.channels.port import Mail
from workers.rendering import headers
from workers.rendering.errors import HeaderRefused

_TEXT_PART = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
_HTML_PART = "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"


class Sender(msgspec.Struct, frozen=True):
    """Whom a message is from, by the provider's settings; addresses are bare."""

    address: str
    name: str = ""
    reply_to: str = ""


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """What a message carries besides its texts; the same envelope gives the same bytes."""

    message_id: str
    """With its angle brackets; one a notification, whatever the attempt."""
    date: datetime
    """Aware."""
    sender: Sender
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers of the provider's settings."""


class Content(msgspec.Struct, frozen=True, gc=False):
    """A finished subject, and both bodies in quoted-printable."""

    subject: str
    text: bytes
    html: bytes


def assemble(recipient: str, envelope: Envelope, content: Content) -> Mail:
    to = headers.ascii_address(recipient)
    sender, sender_lines = _sender_lines(envelope.sender)
    boundary = _boundary(envelope.message_id)
    head = (
        f"{sender_lines}{headers.line('To', to)}"
        f"{headers.line('Subject', headers.unstructured(content.subject))}"
        f"Date: {headers.date(envelope.date)}\r\n"
        f"Message-ID: {headers.message_id(envelope.message_id)}\r\n"
        "MIME-Version: 1.0\r\nAuto-Submitted: auto-generated\r\n"
        f"{_extra_lines(envelope.headers)}"
        f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"\r\n\r\n'
    )
    return Mail(
        sender=sender,
        recipient=to,
        content=b"".join(
            (
                f"{head}--{boundary}\r\n{_TEXT_PART}".encode("ascii"),
                content.text,
                f"\r\n--{boundary}\r\n{_HTML_PART}".encode("ascii"),
                content.html,
                f"\r\n--{boundary}--\r\n".encode("ascii"),
            )
        ),
    )


def _boundary(message_id: str) -> str:
    # "=_" never appears in quoted-printable, so no body can hold the boundary.
    return f"=_{hashlib.sha256(message_id.encode('utf-8', 'replace')).hexdigest()[:32]}"


@lru_cache(maxsize=256)
def _sender_lines(sender: Sender) -> tuple[str, str]:
    """The bare address and the lines that name it."""
    lines = headers.line("From", headers.mailbox(sender.address, sender.name))
    if sender.reply_to:
        lines += headers.line("Reply-To", headers.mailbox(sender.reply_to))
    return headers.ascii_address(sender.address), lines


@lru_cache(maxsize=256)
def _extra_lines(extra: tuple[tuple[str, str], ...]) -> str:
    if len({name.lower() for name, _ in extra}) < len(extra):
        raise HeaderRefused("a header is set twice")
    return "".join(headers.extra_line(name, value) for name, value in extra)
