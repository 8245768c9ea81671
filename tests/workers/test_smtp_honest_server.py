"""The SMTP channel against a server that somebody else wrote."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from notification_domain.outcomes import Deferred
from tests.workers.smtp_cells import MAIL, Probe, deliver_all
from workers.channels.smtp import SmtpChannel
from workers.channels.smtp_settings import SmtpSettings


def check_password(*circumstances: Any) -> AuthResult:
    return AuthResult(handled=False, success=circumstances[-1] == LoginPassword(b"ada", b"s3cret"))


class Inbox:
    """A handler for aiosmtpd."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.envelopes.append(envelope)
        return "250 2.0.0 kept"


@contextlib.asynccontextmanager
async def honest_server(inbox: Inbox, **options: Any) -> AsyncIterator[SmtpSettings]:
    """An account without TLS or credentials at a server of aiosmtpd."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(inbox, **options), "127.0.0.1", 0)
    async with server:
        yield SmtpSettings("127.0.0.1", server.sockets[0].getsockname()[1], tls="none")


async def test_mail_arrives_octet_by_octet_when_lines_begin_with_dots() -> None:
    content = b".\r\n..\r\nSubject: hi\r\n\r\n.hidden\r\n.\r\n...\r\nend\r\n"
    inbox = Inbox()
    async with honest_server(inbox) as account:
        await deliver_all(account, [msgspec.structs.replace(MAIL, content=content)])
    assert inbox.envelopes[0].content == content
    assert inbox.envelopes[0].mail_from == MAIL.sender
    assert inbox.envelopes[0].rcpt_tos == [MAIL.recipient]


async def test_mail_arrives_when_tls_and_a_password_are_required(tmp_path: Path) -> None:
    authority, context, inbox = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), Inbox()
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    required = {"require_starttls": True, "auth_required": True, "authenticator": check_password}
    async with honest_server(inbox, tls_context=context, **required) as account:
        secured = msgspec.structs.replace(
            account, tls="starttls", ca_file=str(tmp_path / "ca.pem"), user="ada", password="s3cret"
        )
        await deliver_all(secured, [MAIL] * 3)
        wrong = SmtpChannel(msgspec.structs.replace(secured, password="no"), provider="p")
        refused = await wrong.deliver(MAIL, Probe())
    assert len(inbox.envelopes) == 3
    assert isinstance(refused, Deferred)
    assert (refused.stage, refused.account_fault) == ("auth", True)


async def test_address_beyond_ascii_arrives_when_the_server_knows_smtputf8() -> None:
    inbox = Inbox()
    foreign = msgspec.structs.replace(MAIL, recipient="grün@bücher.example")
    async with honest_server(inbox, enable_SMTPUTF8=True) as account:
        await deliver_all(account, [foreign])
    assert inbox.envelopes[0].rcpt_tos == ["grün@xn--bcher-kva.example"]
    assert "SMTPUTF8" in inbox.envelopes[0].mail_options
