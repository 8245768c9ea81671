"""Examples of requests, and a reader's view of the mails they become."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser

import msgspec

from workers.channels.port import Mail
from workers.rendering.mail import Envelope, Sender
from workers.rendering.render import RenderRequest, render
from workers.rendering.texts import MessageTexts

ENVELOPE = Envelope(
    message_id="<n-1@acme.example>",
    date=datetime(2026, 11, 21, 9, 30, tzinfo=UTC),
    sender=Sender("no-reply@acme.example", "Acme Login"),
)
ARGUMENTS = {
    "UserID": "u 1",
    "OrgID": "o&1",
    "DisplayName": "Ada Lovelace",
    "PreferredLoginName": "ada+x@acme.example",
    "LastEmail": "ada@acme.example",
    "Code": "K7P2QX",
    "Origin": "https://id.acme.example:8443",
    "Expiry": "5 minutes",
    "TempUsername": "ada-2@users.acme.example",
    "ApplicationName": "APP",
    "CodeID": "c1",
    "AuthRequestID": "auth=1",
    "PasswordSet": "true",
}
BY_MAIL = [
    "InitCode", "PasswordReset", "VerifyEmail", "VerifyEmailOTP",
    "DomainClaimed", "PasswordlessRegistration", "PasswordChange", "InviteUser",
]  # fmt: skip
BY_SMS = [
    "InitCode", "PasswordReset", "VerifyPhone", "VerifySMSOTP",
    "DomainClaimed", "PasswordlessRegistration", "PasswordChange", "InviteUser",
]  # fmt: skip


class Page(HTMLParser):
    """What a reader of the HTML part sees: the words, the tags, and where the links lead."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.words += data


class Read(msgspec.Struct):
    subject: str
    text: str
    html: str
    page: Page


def mail_request(message_type: str, url_template: str = "", **changes: str) -> RenderRequest:
    return RenderRequest(
        message_type=message_type,
        channel="email",
        arguments={**ARGUMENTS, **changes},
        url_template=url_template,
        recipient="ada@acme.example",
    )


def read(request: RenderRequest, texts: MessageTexts | None = None) -> Read:
    made = render(request, ENVELOPE, texts)
    assert isinstance(made, Mail)
    parsed = message_from_bytes(made.content, EmailMessage, policy=default)
    plain, html = parsed.get_body(("plain",)), parsed.get_body(("html",))
    assert isinstance(plain, EmailMessage)
    assert isinstance(html, EmailMessage)
    source = html.get_content().replace("\r\n", "\n")
    return Read(parsed["Subject"], plain.get_content().replace("\r\n", "\n"), source, Page(source))
