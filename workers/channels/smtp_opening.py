"""Opening an SMTP connection: dial, TLS, hello and login by aiosmtplib, each a stage of its own."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from functools import lru_cache, partial
from typing import TypeAlias, cast

import aiosmtplib

from notification_domain.outcomes import Outcome
from workers.channels.smtp_connection import SmtpConnection
from workers.channels.smtp_outcomes import AccountError, Stage, outcome_of_break, outcome_of_reply
from workers.channels.smtp_replies import DroppedError, Reply
from workers.channels.smtp_settings import SmtpSettings

PERMANENT = 500
_ONE_REPLY = re.compile(rb"(?:[0-9]{3}-[^\n]*\n)*[0-9]{3}(?: [^\n]*)?\n")
_Address: TypeAlias = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[object, ...]]


async def open_connection(settings: SmtpSettings) -> SmtpConnection | Outcome:
    """A connection ready for MAIL, or the outcome for the message that asked for it."""
    opening = _Opening(settings)
    try:
        return await opening.run()
    except aiosmtplib.SMTPResponseException as refusal:
        return outcome_of_reply(opening.stage, Reply(refusal.code, refusal.message))
    except Exception as error:  # noqa: BLE001 - the edge: the library raises UnicodeError, ssl errors and more
        return outcome_of_break(opening.stage, error)


class _Opening:
    """One connection being opened; ``stage`` tells how far it came."""

    def __init__(self, settings: SmtpSettings) -> None:
        self.stage: Stage = "config"
        self._settings = settings
        self._transport: asyncio.Transport | None = None

    async def run(self) -> SmtpConnection:
        smtp = self._client()
        self.stage = "connect"
        sock = await _dial(self._settings)
        try:
            for step in (partial(self._greet, sock), self._introduce, self._upgrade, self._login):
                async with asyncio.timeout(self._settings.command_timeout):
                    await step(smtp)
            return self._take_over(smtp)
        except BaseException:
            self._abort()
            raise

    def _client(self) -> aiosmtplib.SMTP:
        settings = self._settings
        fault = settings.credentials_fault()
        if fault is not None:
            raise AccountError(fault)
        return aiosmtplib.SMTP(
            hostname=settings.server_name or settings.host,
            local_hostname=settings.helo,
            timeout=None,  # ours: in Python 3.11 the library's can swallow a cancellation
            use_tls=settings.tls == "implicit",
            start_tls=False,  # done by hand: the library's own way would go on in clear
            tls_context=None if settings.tls == "none" else _tls_context(settings.ca_file, settings.verify),
        )

    async def _greet(self, sock: socket.socket, smtp: aiosmtplib.SMTP) -> None:
        self.stage = "tls" if self._settings.tls == "implicit" else "banner"
        try:
            await smtp.connect(sock=sock)
        except aiosmtplib.SMTPException as error:
            # One call does the handshake and reads the banner; only the banner's faults are SMTP's own.
            if isinstance(error, aiosmtplib.SMTPResponseException) or isinstance(
                error.__cause__, aiosmtplib.SMTPException
            ):
                self.stage = "banner"
            raise
        self._transport = _open_transport(smtp)

    async def _introduce(self, smtp: aiosmtplib.SMTP) -> None:
        self.stage = "ehlo"
        try:
            await smtp.ehlo()
        except aiosmtplib.SMTPHeloError as refusal:
            if refusal.code < PERMANENT:
                raise
            await smtp.helo()

    async def _upgrade(self, smtp: aiosmtplib.SMTP) -> None:
        if self._settings.tls not in {"starttls", "opportunistic"}:
            return
        self.stage = "tls"
        if not smtp.supports_extension("starttls"):
            if self._settings.tls == "opportunistic":
                return
            raise AccountError("the server does not offer STARTTLS")
        await self._start_tls(smtp)
        await self._introduce(smtp)

    async def _start_tls(self, smtp: aiosmtplib.SMTP) -> None:
        tap = _ClearTextTap(smtp)
        await smtp.starttls()
        self._transport = _open_transport(smtp)
        if not _ONE_REPLY.fullmatch(tap.heard):
            raise AccountError("text was injected before the TLS handshake")

    async def _login(self, smtp: aiosmtplib.SMTP) -> None:
        settings = self._settings
        if not settings.user:
            return
        self.stage = "auth"
        if "plain" in smtp.server_auth_methods:
            await smtp.auth_plain(settings.user, settings.password)
        elif "login" in smtp.server_auth_methods:
            await smtp.auth_login(settings.user, settings.password)
        else:
            raise AccountError("the server offers neither AUTH PLAIN nor AUTH LOGIN")

    def _take_over(self, smtp: aiosmtplib.SMTP) -> SmtpConnection:
        return SmtpConnection(_open_transport(smtp), frozenset(smtp.esmtp_extensions))

    def _abort(self) -> None:
        # Not smtp.close(): a TLS connection would wait half a minute for the peer's goodbye.
        if self._transport is not None:
            self._transport.abort()


class _ClearTextTap(asyncio.Protocol):
    """Stands before the library's protocol and remembers what came in clear after STARTTLS.

    The library throws injected text away and goes on; we refuse the server (RFC 3207 section 4.2).
    """

    def __init__(self, smtp: aiosmtplib.SMTP) -> None:
        transport = _open_transport(smtp)
        self.heard = b""
        self._protocol = cast("asyncio.Protocol", transport.get_protocol())
        transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        self.heard += data
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)


def _open_transport(smtp: aiosmtplib.SMTP) -> asyncio.Transport:
    if not smtp.is_connected:
        raise DroppedError("the server closed the connection")
    # Not isinstance: uvloop's transports are none of asyncio's classes.
    return cast("asyncio.Transport", smtp.transport)


async def _dial(settings: SmtpSettings) -> socket.socket:
    """A connected socket: the host's addresses in turn share ``connect_timeout``."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(settings.connect_timeout):
        addresses = await loop.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
    failure = OSError("the host has no address")
    for address in addresses:
        try:
            return await _dial_address(address, settings.connect_timeout / len(addresses))
        except OSError as error:
            failure = error
    raise failure


async def _dial_address(address: _Address, within: float) -> socket.socket:
    family, kind, protocol, _, target = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(within):
            await asyncio.get_running_loop().sock_connect(sock, target)
    except BaseException:
        sock.close()
        raise
    return sock


@lru_cache(maxsize=16)
def _tls_context(ca_file: str, verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = verify
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    return context
