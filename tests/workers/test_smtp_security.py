"""TLS and credentials of the SMTP channel: what cannot be trusted gets neither password nor mail."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
from collections.abc import Sequence

import pytest
import trustme

from notification_domain.outcomes import Deferred, Delivered, Outcome
from tests.workers.misbehaving_smtp import Act, MisbehavingSmtp, Script, misbehaving_smtp
from tests.workers.smtp_cells import GARBAGE, MAIL, PIPELINED, Cell, Probe, assert_cell, settings
from workers.channels.smtp import SmtpChannel
from workers.channels.smtp_settings import SmtpSettings

TLS_MODES = pytest.mark.parametrize("tls", ["implicit", "starttls"])


@pytest.fixture(name="authority", scope="module")
def make_authority() -> trustme.CA:
    return trustme.CA()


def server_tls(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or ("127.0.0.1",))).configure_cert(context)
    return context


@pytest.fixture(name="ca_file")
def write_ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def tls_script(tls: str, context: ssl.SSLContext | None, **at: Sequence[Act]) -> Script:
    return Script(at, ("STARTTLS", *PIPELINED), context, implicit_tls=tls == "implicit")


async def deliver_by_tls(
    server: MisbehavingSmtp, acts: Sequence[Act] = (), **changes: object
) -> Outcome | None:
    account = {"user": "ada", "password": "x", **changes}
    channel = SmtpChannel(settings(server, acts, **account), provider="p")
    outcome = await channel.deliver(MAIL, Probe())
    await channel.close()
    await server.everyone_left()
    return outcome


def assert_no_secret_in_clear(server: MisbehavingSmtp) -> None:
    assert not [command for command in server.clear_commands if command[:4] in {"AUTH", "MAIL"}]


@pytest.mark.parity("CHN-11")
@TLS_MODES
async def test_mail_is_delivered_when_the_certificate_is_good(
    tls: str, authority: trustme.CA, ca_file: str
) -> None:
    async with misbehaving_smtp(tls_script(tls, server_tls(authority))) as server:
        assert isinstance(await deliver_by_tls(server, tls=tls, ca_file=ca_file), Delivered)
        assert_no_secret_in_clear(server)


@pytest.mark.parity("CHN-11")
@TLS_MODES
async def test_certificate_bears_the_configured_name_when_the_host_is_an_address(
    tls: str, authority: trustme.CA, ca_file: str
) -> None:
    context = server_tls(authority, "mail.test")
    async with misbehaving_smtp(tls_script(tls, context)) as server:
        outcome = await deliver_by_tls(server, tls=tls, ca_file=ca_file, server_name="mail.test")
        assert isinstance(outcome, Delivered)


@pytest.mark.parity("CHN-11")
@TLS_MODES
@pytest.mark.parametrize("flaw", ["unknown authority", "wrong name", "expired"])
async def test_account_is_at_fault_when_the_server_cannot_be_trusted(
    tls: str, flaw: str, authority: trustme.CA, ca_file: str
) -> None:
    async with misbehaving_smtp(tls_script(tls, flawed_tls(flaw, authority))) as server:
        outcome = await deliver_by_tls(server, tls=tls, ca_file=ca_file)
        assert_cell(outcome, Cell("tls", [], Deferred, fault=True))
        assert_no_secret_in_clear(server)


def flawed_tls(flaw: str, authority: trustme.CA) -> ssl.SSLContext:
    if flaw == "unknown authority":
        return server_tls(trustme.CA())
    if flaw == "wrong name":
        return server_tls(authority, "other.test")
    context = server_tls(authority)
    if flaw == "expired":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        expired = authority.issue_cert("127.0.0.1", not_after=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
        expired.configure_cert(context)
    return context


async def test_account_is_at_fault_when_the_server_speaks_only_old_tls(
    authority: trustme.CA, ca_file: str
) -> None:
    """Sockets that block: asyncio's own server hangs up without the alert that real servers send."""
    context = server_tls(authority)
    with pytest.deprecated_call():
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_server(("127.0.0.1", 0)) as listener:
        account = SmtpSettings("127.0.0.1", listener.getsockname()[1], tls="implicit", ca_file=ca_file)
        refusal = asyncio.create_task(asyncio.to_thread(refuse_handshake, listener, context))
        outcome = await SmtpChannel(account, provider="p").deliver(MAIL, Probe())
        await refusal
    assert_cell(outcome, Cell("tls", [], Deferred, fault=True))


def refuse_handshake(listener: socket.socket, context: ssl.SSLContext) -> None:
    client, _ = listener.accept()
    with client, pytest.raises(ssl.SSLError):
        context.wrap_socket(client, server_side=True)


@pytest.mark.parity("CHN-11")
@pytest.mark.parametrize("authority_file", ["/nonexistent/ca.pem", __file__])
async def test_account_is_at_fault_when_its_authority_file_is_unusable(authority_file: str) -> None:
    async with misbehaving_smtp() as server:
        outcome = await deliver_by_tls(server, tls="starttls", ca_file=authority_file)
        assert_cell(outcome, Cell("config", [], Deferred, fault=True))
        assert server.connections == 0


@pytest.mark.parity("CHN-11")
async def test_account_is_at_fault_when_starttls_is_not_offered() -> None:
    async with misbehaving_smtp(Script({}, PIPELINED)) as server:
        outcome = await deliver_by_tls(server, tls="starttls")
        assert_cell(outcome, Cell("tls", [], Deferred, fault=True))
        assert_no_secret_in_clear(server)


@pytest.mark.parametrize(
    ("acts", "fault"),
    [
        ([b"454 4.7.0 later\r\n"], True),
        ([b"502 5.5.1 what?\r\n"], True),
        ([b"220 go ahead\r\n", b"hello, no TLS here\r\n"], True),
        ([b"220 go ahead\r\n235 2.7.0 welcome\r\n"], True),
        ([GARBAGE], False),
        (["drop"], False),
        (["hang"], False),
        ([b"220 go ahead\r\n", "drop"], False),
        ([b"220 go ahead\r\n", "hang"], False),
    ],
)
async def test_nothing_goes_in_clear_when_starttls_fails(
    acts: Sequence[Act], fault: bool, authority: trustme.CA, ca_file: str
) -> None:
    context = server_tls(authority)
    async with misbehaving_smtp(tls_script("starttls", context, starttls=acts)) as server:
        outcome = await deliver_by_tls(server, acts, tls="starttls", ca_file=ca_file)
        assert_cell(outcome, Cell("tls", acts, Deferred, fault=fault))
        assert_no_secret_in_clear(server)
        assert server.bodies == []


@pytest.mark.parametrize(
    ("acts", "stage", "fault"),
    [
        (["drop"], "banner", False),
        (["hang"], "tls", False),  # the library does both in one call
        ([GARBAGE], "banner", False),
        ([b"554 5.7.1 no\r\n"], "banner", True),
    ],
)
async def test_stage_is_the_banner_when_the_handshake_was_done(
    acts: Sequence[Act], stage: str, fault: bool, authority: trustme.CA, ca_file: str
) -> None:
    context = server_tls(authority)
    async with misbehaving_smtp(tls_script("implicit", context, banner=acts)) as server:
        outcome = await deliver_by_tls(server, acts, tls="implicit", ca_file=ca_file)
        assert_cell(outcome, Cell(stage, acts, Deferred, fault=fault))


@pytest.mark.parametrize(("acts", "fault"), [((), True), (["drop"], False), (["hang"], False)])
async def test_stage_is_tls_when_a_server_in_clear_is_asked_for_tls(acts: Sequence[Act], fault: bool) -> None:
    at = {"banner": acts} if acts else {}
    async with misbehaving_smtp(Script(at)) as server:
        outcome = await deliver_by_tls(server, acts, tls="implicit")
        assert_cell(outcome, Cell("tls", acts, Deferred, fault=fault))


@pytest.mark.parametrize("offered", [True, False])
async def test_opportunistic_tls_is_taken_where_it_is_offered(
    offered: bool, authority: trustme.CA, ca_file: str
) -> None:
    extensions = ("STARTTLS",) if offered else ()
    async with misbehaving_smtp(Script({}, extensions, server_tls(authority))) as server:
        outcome = await deliver_by_tls(server, tls="opportunistic", ca_file=ca_file, user="")
        assert isinstance(outcome, Delivered)
        assert any(command.startswith("MAIL") for command in server.clear_commands) != offered


@pytest.mark.parametrize(
    ("host", "tls"), [("127.0.0.1", "opportunistic"), ("mail.test", "none"), ("192.0.2.1", "none")]
)
async def test_credentials_stay_here_when_a_listener_could_read_them(host: str, tls: str) -> None:
    async with misbehaving_smtp() as server:
        outcome = await deliver_by_tls(server, host=host, tls=tls)
        assert_cell(outcome, Cell("config", [], Deferred, fault=True))
        assert server.connections == 0


@pytest.mark.parity("CHN-8", "CHN-9")
@pytest.mark.parametrize(
    ("offered", "login"),
    [
        (("AUTH PLAIN LOGIN",), ["AUTH PLAIN AGFkYQB4"]),
        (("AUTH X-NEW PLAIN",), ["AUTH PLAIN AGFkYQB4"]),
        (("AUTH LOGIN X-NEW",), ["AUTH LOGIN YWRh", "eA=="]),
    ],
)
async def test_login_uses_what_the_server_knows(offered: Sequence[str], login: Sequence[str]) -> None:
    at: dict[str, Sequence[Act]] = {"ea==": [b"235 2.7.0 welcome\r\n"]}
    if len(login) > 1:
        at["auth"] = [b"334 UGFzc3dvcmQ6\r\n"]
    async with misbehaving_smtp(Script(at, offered)) as server:
        channel = SmtpChannel(settings(server, user="ada", password="x"), provider="p")
        assert isinstance(await channel.deliver(MAIL, Probe()), Delivered)
        await channel.close()
    assert server.commands[1 : 1 + len(login)] == login


@pytest.mark.parity("CHN-10")
@pytest.mark.parametrize("offered", [(), ("AUTH X-NEW GSSAPI",)])
async def test_account_is_at_fault_when_the_server_knows_no_login_of_ours(offered: Sequence[str]) -> None:
    async with misbehaving_smtp(Script({}, offered)) as server:
        channel = SmtpChannel(settings(server, user="ada", password="x"), provider="p")
        assert_cell(await channel.deliver(MAIL, Probe()), Cell("auth", [], Deferred, fault=True))
        await channel.close()


async def test_refused_login_is_tried_once_when_the_server_knows_several() -> None:
    """Trying one mechanism after another locks accounts."""
    async with misbehaving_smtp(Script({"auth": [b"535 5.7.8 who?\r\n"]}, PIPELINED)) as server:
        channel = SmtpChannel(settings(server, user="ada", password="x"), provider="p")
        await channel.deliver(MAIL, Probe())
        await channel.close()
    assert len([command for command in server.commands if command.startswith("AUTH")]) == 1


def test_settings_print_without_the_password() -> None:
    assert "s3cret" not in repr(SmtpSettings("h", 25, user="ada", password="s3cret"))
