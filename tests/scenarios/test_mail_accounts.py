"""Logging in and trusting: what a mail account's settings lead to at a server that answers for real."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest
import trustme

from notification_domain.notification_events import AttemptStarted, NotificationRequested, RetryRequested
from notification_domain.outcomes import Deferred, Delivered, Outcome
from tests.workers.conftest import SENDER, Office, until
from tests.workers.misbehaving_smtp import Act, MisbehavingSmtp, Script, misbehaving_smtp
from tests.workers.smtp_cells import MAIL, Probe, settings
from workers.channels.smtp import SmtpChannel
from workers.instance_routes import InstanceRoutes, Surroundings
from workers.routes import Route

WELCOME, NO = [b"235 2.7.0 welcome\r\n"], [b"535 5.7.8 who?\r\n"]
ASKS_FOR_THE_PASSWORD = [b"334 UGFzc3dvcmQ6\r\n"]
PASSWORD = "ea=="
"""What a login by two words says last, for the password x."""


async def deliver(server: MisbehavingSmtp, **account: object) -> Outcome | None:
    channel = SmtpChannel(settings(server, **account), provider="p")
    outcome = await channel.deliver(MAIL, Probe())
    await channel.close()
    await server.everyone_left()
    return outcome


@pytest.mark.parity("CHN-8", "CHN-9")
@pytest.mark.parametrize("offered", ["AUTH LOGIN", "AUTH PLAIN"])
async def test_a_mail_goes_out_when_the_login_is_taken(offered: str) -> None:
    at: dict[str, Sequence[Act]] = {PASSWORD: WELCOME}
    if offered == "AUTH LOGIN":
        at["auth"] = ASKS_FOR_THE_PASSWORD
    async with misbehaving_smtp(Script(at, (offered,))) as server:
        assert isinstance(await deliver(server, user="ada", password="x"), Delivered)
    assert server.commands[1].startswith(offered)


@pytest.mark.parity("CHN-8")
@pytest.mark.parametrize(
    ("offered", "at"),
    [
        ("AUTH LOGIN", {"auth": NO}),
        ("AUTH LOGIN", {"auth": ASKS_FOR_THE_PASSWORD, PASSWORD: NO}),
        ("AUTH PLAIN", {"auth": NO}),
    ],
    ids=["user", "password", "both at once"],
)
async def test_a_login_that_is_refused_is_the_accounts_fault_and_may_be_tried_again(
    offered: str, at: dict[str, Sequence[Act]]
) -> None:
    async with misbehaving_smtp(Script(at, (offered,))) as server:
        outcome = await deliver(server, user="ada", password="x")
    assert isinstance(outcome, Deferred)
    assert (outcome.stage, outcome.account_fault) == ("auth", True)


def mail_routes(office: Office, server: MisbehavingSmtp) -> InstanceRoutes:
    """The deployment's own account, at this server."""
    channel = SmtpChannel(settings(server, user="ada", password="x"), provider="mail")
    return InstanceRoutes(office.log, {"email": Route(channel, SENDER)}, Surroundings(), office.clock)


@pytest.mark.parity("CHN-8", "CHN-10")
@pytest.mark.parametrize("offered", ["AUTH PLAIN", "AUTH GSSAPI"])
async def test_an_account_that_cannot_log_in_is_left_alone_and_costs_no_attempt(
    office: Office, offered: str
) -> None:
    async with misbehaving_smtp(Script({"auth": NO}, (offered,))) as server:
        async with office.working(mail_routes(office, server)):
            for user in ("ann", "bob"):
                office.story.add_user(user)
                office.story.ask_for_code(user)
                office.story.handle()
                await until(lambda: not office.busy())
        first, second = (office.story.facts(one.id) for one in office.story.decisions())
        assert [type(fact) for fact in first] == [NotificationRequested, AttemptStarted, RetryRequested]
        assert [type(fact) for fact in second] == [NotificationRequested, RetryRequested]
        assert [fact.counts for fact in (*first, *second) if isinstance(fact, RetryRequested)] == [False] * 2
        assert server.connections == 1
        server.script = Script({}, ("AUTH PLAIN",))
        office.clock.move(seconds=200)
        await office.deliver(mail_routes(office, server))
        assert len(server.bodies) == 2


@pytest.mark.parity("CHN-10")
async def test_nobody_logs_in_without_credentials() -> None:
    async with misbehaving_smtp(Script({}, ())) as server:
        assert isinstance(await deliver(server), Delivered)
    assert not [command for command in server.commands if command.startswith("AUTH")]


def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.mark.parity("CHN-11")
@pytest.mark.parametrize("tls", ["implicit", "starttls"])
async def test_a_certificate_is_not_looked_at_when_that_is_switched_off(tls: str) -> None:
    script = Script({}, ("STARTTLS",), server_tls(trustme.CA()), implicit_tls=tls == "implicit")
    async with misbehaving_smtp(script) as server:
        assert isinstance(await deliver(server, tls=tls, verify=False), Delivered)
        refused = await deliver(server, tls=tls)
    assert isinstance(refused, Deferred)
    assert (refused.stage, refused.account_fault) == ("tls", True)


@pytest.mark.parity("CHN-11")
async def test_starttls_is_not_asked_for_on_a_connection_that_has_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    script = Script({}, ("STARTTLS",), server_tls(authority), implicit_tls=True)
    async with misbehaving_smtp(script) as server:
        assert isinstance(await deliver(server, tls="implicit", ca_file=str(tmp_path / "ca.pem")), Delivered)
    assert "STARTTLS" not in server.commands
