"""A mail as SMTP carries it: checked and put into its wire form once, before any connection is asked for."""

from __future__ import annotations

import re

import msgspec

from workers.channels.addresses import Unfit, wire_address
from workers.channels.port import Mail

_ALL_BUT_LINE_ENDS = bytes(set(range(256)) - set(b"\r\n"))
_LEADING_DOT = re.compile(rb"\n\.")


class WireMail(msgspec.Struct, frozen=True, gc=False):
    sender: bytes
    recipient: bytes
    size: int
    """Octets of the message itself."""
    body: bytes
    """With every dot that begins a line doubled, up to and with the final dot (RFC 5321 section 4.5.2)."""

    ascii_envelope: bool

    def mail_command(self, extensions: frozenset[str]) -> bytes:
        """MAIL with SIZE (RFC 1870), BODY (RFC 6152) and SMTPUTF8 (RFC 6531), where offered and needed."""
        size = b" SIZE=%d" % self.size if "size" in extensions else b""
        eight = b" BODY=8BITMIME" if "8bitmime" in extensions and not self.body.isascii() else b""
        utf8 = b"" if self.ascii_envelope else b" SMTPUTF8"
        return b"MAIL FROM:<%b>%b%b%b\r\n" % (self.sender, size, eight, utf8)

    def recipient_command(self) -> bytes:
        return b"RCPT TO:<%b>\r\n" % self.recipient


def wire_mail(mail: Mail) -> WireMail | Unfit:
    """The mail, or why no server may be given it."""
    sender, recipient = wire_address(mail.sender), wire_address(mail.recipient)
    if isinstance(sender, Unfit):
        return Unfit(f"sender: {sender.why}")
    if isinstance(recipient, Unfit):
        return Unfit(f"recipient: {recipient.why}")
    if not _has_only_crlf(mail.content):
        return Unfit("the message has a bare CR or LF")
    ascii_envelope = sender.isascii() and recipient.isascii()
    return WireMail(sender, recipient, len(mail.content), _body(mail.content), ascii_envelope)


def _has_only_crlf(content: bytes) -> bool:
    """A bare one lets another server see an end of message where this one sees none (SMTP smuggling)."""
    line_ends = content.translate(None, _ALL_BUT_LINE_ENDS)
    return line_ends == b"\r\n" * (len(line_ends) // 2)


def _body(content: bytes) -> bytes:
    stuffed = _LEADING_DOT.sub(b"\n..", content)
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed + (b".\r\n" if stuffed.endswith(b"\r\n") else b"\r\n.\r\n")
