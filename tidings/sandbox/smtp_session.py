"""One SMTP conversation (RFC 5321), honest until a fault says otherwise."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec

from tidings.sandbox.desk import Desk
from tidings.sandbox.entries import MailEntry
from tidings.sandbox.smtp_faults import suffer
from tidings.sandbox.smtp_grammar import Refusal, read_base64, read_plain, read_recipient, read_sender
from tidings.sandbox.smtp_wire import ConnectionEnded, SmtpWire

LARGEST_MAIL = 26_214_400
MOST_RECIPIENTS = 1000
NAME = "sandbox.tidings.invalid"
_EXTENSIONS = (
    "PIPELINING", f"SIZE {LARGEST_MAIL}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "AUTH PLAIN LOGIN",
)  # fmt: skip
_GREETING = f"220 {NAME} ESMTP Tidings sandbox"
_OUT_OF_ORDER = "503 5.5.1 Bad sequence of commands"
_SYNTAX = "501 5.5.4 Syntax error in the argument"

_log = logging.getLogger(__name__)

Command: TypeAlias = Callable[[str], Awaitable[None]]


class Envelope(msgspec.Struct):
    sender: str
    utf8: bool
    recipients: list[str]


class SmtpSession:
    def __init__(self, wire: SmtpWire, desk: Desk) -> None:
        self._wire = wire
        self._desk = desk
        self._greeted = False
        self._envelope: Envelope | None = None
        self._commands: dict[str, Command] = {
            "HELO": self._hello,
            "EHLO": self._extended_hello,
            "AUTH": self._authenticate,
            "MAIL": self._mail,
            "RCPT": self._recipient,
            "DATA": self._data,
            "RSET": self._reset,
            "NOOP": self._nothing,
            "VRFY": self._verify,
            "QUIT": self._quit,
        }

    async def converse(self) -> None:
        """Returns when the connection has ended, by whichever side."""
        try:
            await self._greet()
            while True:
                await self._obey(await self._wire.line())
        except (ConnectionEnded, ConnectionError) as ending:
            _log.debug("an SMTP connection ended: %r", ending)
        finally:
            self._wire.drop()

    async def _greet(self) -> None:
        if not await self._fails("connect", closes=True) and not await self._fails("banner", closes=True):
            self._wire.reply(_GREETING)

    async def _obey(self, line: bytes) -> None:
        try:
            verb, _, argument = line.decode().partition(" ")
        except UnicodeDecodeError:
            self._wire.reply("500 5.5.2 Commands are UTF-8")
            return
        await self._commands.get(verb.upper(), self._unknown)(argument.strip())

    async def _hello(self, argument: str) -> None:
        await self._meet(argument, f"250 {NAME}")

    async def _extended_hello(self, argument: str) -> None:
        lines = [f"{NAME} greets you", *_EXTENSIONS]
        await self._meet(argument, "\r\n".join([f"250-{line}" for line in lines[:-1]] + [f"250 {lines[-1]}"]))

    async def _meet(self, name: str, welcome: str) -> None:
        if await self._fails("ehlo"):
            return
        if not name:
            self._wire.reply(_SYNTAX)
            return
        self._greeted, self._envelope = True, None
        self._wire.reply(welcome)

    async def _authenticate(self, argument: str) -> None:
        if await self._fails("auth"):
            return
        mechanism, _, response = argument.partition(" ")
        match mechanism.upper():
            case "PLAIN":
                known = read_plain(response or await self._challenge("")) is not None
            case "LOGIN":
                known = await self._log_in(response)
            case _:
                self._wire.reply("504 5.5.4 PLAIN or LOGIN")
                return
        self._wire.reply(
            "235 2.7.0 Welcome" if known else "535 5.7.8 Any user and password will do, but not none"
        )

    async def _log_in(self, response: str) -> bool:
        user = read_base64(response or await self._challenge("VXNlcm5hbWU6"))
        return bool(user) and bool(read_base64(await self._challenge("UGFzc3dvcmQ6")))

    async def _challenge(self, question: str) -> str:
        self._wire.reply(f"334 {question}")
        return (await self._wire.line()).decode("ascii", "replace")

    async def _mail(self, argument: str) -> None:
        if await self._fails("mail"):
            return
        if not self._greeted or self._envelope is not None:
            self._wire.reply(_OUT_OF_ORDER)
            return
        sender = read_sender(argument, LARGEST_MAIL)
        if isinstance(sender, Refusal):
            self._wire.reply(sender.reply)
            return
        self._envelope = Envelope(sender.address, "SMTPUTF8" in sender.parameters, [])
        self._wire.reply("250 2.1.0 Ok")

    async def _recipient(self, argument: str) -> None:
        recipient = read_recipient(argument, utf8=self._envelope is not None and self._envelope.utf8)
        address = "" if isinstance(recipient, Refusal) else recipient.address
        if await self._fails("rcpt", address):
            return
        self._wire.reply(
            self._add_recipient(recipient.reply if isinstance(recipient, Refusal) else None, address)
        )

    def _add_recipient(self, refusal: str | None, address: str) -> str:
        if self._envelope is None:
            return _OUT_OF_ORDER
        if refusal is not None:
            return refusal
        if len(self._envelope.recipients) == MOST_RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        self._envelope.recipients.append(address)
        return "250 2.1.5 Ok"

    async def _data(self, _argument: str) -> None:
        envelope = self._envelope
        if await self._fails("data", *(envelope.recipients if envelope else ())):
            return
        if envelope is None or not envelope.recipients:
            self._wire.reply("554 5.5.1 No valid recipients" if envelope else _OUT_OF_ORDER)
            return
        self._wire.reply("354 End data with <CR><LF>.<CR><LF>")
        await self._read_on(envelope)
        content = await self._wire.body(LARGEST_MAIL)
        self._envelope = None
        if content is None:
            self._wire.reply(f"552 5.3.4 At most {LARGEST_MAIL} bytes")
            return
        await self._take(envelope, content)

    async def _read_on(self, envelope: Envelope) -> None:
        """Begin to read the body, and stop in the middle of it when a fault asks for that."""
        fault = self._desk.take("email", "body", *envelope.recipients)
        if fault is not None:
            await self._wire.begun()
            await suffer(fault, self._wire, closes=True)

    async def _take(self, envelope: Envelope, content: bytes) -> None:
        fault = self._desk.take("email", "dot", *envelope.recipients)
        if fault is None:
            self._wire.reply(await self._accept(envelope, content))
            return
        refused = fault.action == "refuse" or fault.loses_message
        answer = "" if refused else await self._accept(envelope, content)
        if not await suffer(fault, self._wire):
            self._wire.reply(answer)

    async def _accept(self, envelope: Envelope, content: bytes) -> str:
        """Write the mail down; answers the reply line."""
        entry = MailEntry(
            id=self._desk.new_id("EM"),
            received_at=self._desk.now(),
            sender=envelope.sender,
            to=tuple(envelope.recipients),
            content=content,
        )
        try:
            await self._desk.ledger.append(entry)
        except OSError:
            _log.exception("the sandbox cannot write its ledger")
            return "452 4.3.1 The ledger cannot be written"
        return f"250 2.0.0 Ok: queued as {entry.id}"

    async def _reset(self, _argument: str) -> None:
        self._envelope = None
        self._wire.reply("250 2.0.0 Ok")

    async def _nothing(self, _argument: str) -> None:
        self._wire.reply("250 2.0.0 Ok")

    async def _verify(self, _argument: str) -> None:
        self._wire.reply("252 2.5.2 Send it and see")

    async def _quit(self, _argument: str) -> None:
        self._wire.reply("221 2.0.0 Bye")
        await self._wire.part()
        raise ConnectionEnded

    async def _unknown(self, _argument: str) -> None:
        self._wire.reply("500 5.5.1 Command not recognised")

    async def _fails(self, stage: str, *recipients: str, closes: bool = False) -> bool:
        fault = self._desk.take("email", stage, *recipients)
        return fault is not None and await suffer(fault, self._wire, closes=closes)
