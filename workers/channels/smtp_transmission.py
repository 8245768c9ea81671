"""One mail over one open connection: MAIL, RCPT, DATA, the point of no return, the body and its answer."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from event_log.failpoints import failpoint
from notification_domain.outcomes import Delivered, Outcome, Rejected
from workers.channels.addresses import wire_address
from workers.channels.port import Mail, PointOfNoReturn
from workers.channels.smtp_connection import SmtpConnection
from workers.channels.smtp_outcomes import (
    SERVICE_CLOSING,
    START_INPUT,
    Stage,
    is_accepted,
    outcome_of_break,
    outcome_of_reply,
)
from workers.channels.smtp_replies import ConversationError, DroppedError, Reply
from workers.channels.smtp_settings import SmtpSettings


class Transmission:
    """``stage`` tells how far the mail came, and so what a break would mean."""

    def __init__(self, connection: SmtpConnection, mail: Mail, limits: SmtpSettings) -> None:
        self.stage: Stage = "mail"
        self.stale = False
        """The server had already closed the connection, or did so instead of answering MAIL."""
        self._connection = connection
        self._mail = mail
        self._limits = limits

    async def run(self, begin: PointOfNoReturn) -> Outcome | None:
        """The outcome, or None when ``begin`` refused; what ``begin`` raises passes through."""
        try:
            refusal = await self._judged(self._envelope())
            if refusal is not None:
                return refusal
            if await begin():
                return await self._judged(self._body())
            self._connection.discard()
        except BaseException:
            self._connection.discard()
            raise
        return None

    async def _judged(self, step: Awaitable[Outcome | None]) -> Outcome | None:
        try:
            return await step
        except Exception as error:  # noqa: BLE001 - the edge: whatever broke, the stage tells what it means
            self._connection.discard()
            self.stale = self.stage == "mail" and isinstance(error, DroppedError)
            return outcome_of_break(self.stage, error)

    async def _envelope(self) -> Outcome | None:
        """None when the server waits for the body."""
        connection = self._connection
        if not _is_ascii_envelope(self._mail) and "smtputf8" not in connection.extensions:
            return Rejected("local", "the server cannot carry addresses beyond ASCII (SMTPUTF8)")
        commands = _envelope_commands(self._mail, connection.extensions)
        if "pipelining" in connection.extensions:
            connection.write(b"".join(command for _, command in commands))
            return await self._pipelined([stage for stage, _ in commands])
        return await self._stepwise(commands)

    async def _stepwise(self, commands: Sequence[tuple[Stage, bytes]]) -> Outcome | None:
        for stage, command in commands:
            self.stage = stage
            reply = await self._connection.command(command, self._limits.command_timeout)
            if not is_accepted(stage, reply):
                return self._refused(reply)
            failpoint(f"smtp.{stage}")
        return None

    async def _pipelined(self, stages: Sequence[Stage]) -> Outcome | None:
        for position, stage in enumerate(stages):
            self.stage = stage
            reply = await self._connection.reply(self._limits.command_timeout)
            if not is_accepted(stage, reply):
                refusal = self._refused(reply)
                await self._skip(len(stages) - position - 1)
                return refusal
            failpoint(f"smtp.{stage}")
        return None

    async def _skip(self, replies: int) -> None:
        """Read what was still to come after a refusal, so that the connection can serve another mail."""
        try:
            for _ in range(replies):
                reply = await self._connection.reply(self._limits.command_timeout)
                if reply.code == START_INPUT:  # it waits for a body that must not come
                    self._connection.discard()
        except ConversationError:
            self._connection.discard()

    async def _body(self) -> Outcome:
        connection, limits = self._connection, self._limits
        self.stage = "body"
        connection.messages += 1
        await connection.write_all(_stuffed(self._mail.content) + b".\r\n", limits.command_timeout)
        self.stage = "dot"
        failpoint("smtp.dot_written")
        reply = await connection.reply(limits.data_timeout)
        failpoint("smtp.reply_read")
        if is_accepted("dot", reply):
            return Delivered(reply=str(reply))
        return self._refused(reply)

    def _refused(self, reply: Reply) -> Outcome:
        self._connection.needs_reset = True
        if reply.code == SERVICE_CLOSING or reply.code // 100 not in {4, 5}:
            self._connection.discard()
        self.stale = self.stage == "mail" and reply.code == SERVICE_CLOSING
        return outcome_of_reply(self.stage, reply)


async def reset(connection: SmtpConnection, within: float) -> bool:
    """Whether the server forgot the refused envelope; otherwise the connection is dropped."""
    connection.needs_reset = True
    try:
        reply = await connection.command(b"RSET\r\n", within)
        connection.needs_reset = not is_accepted("mail", reply)
    except ConversationError:
        pass
    finally:
        if connection.needs_reset:
            connection.discard()
    return not connection.needs_reset


def _is_ascii_envelope(mail: Mail) -> bool:
    return wire_address(mail.sender).isascii() and wire_address(mail.recipient).isascii()


def _envelope_commands(mail: Mail, extensions: frozenset[str]) -> list[tuple[Stage, bytes]]:
    sender, recipient = wire_address(mail.sender), wire_address(mail.recipient)
    return [
        ("mail", b"MAIL FROM:<%b>%b\r\n" % (sender, _mail_parameters(mail, extensions))),
        ("rcpt", b"RCPT TO:<%b>\r\n" % recipient),
        ("data", b"DATA\r\n"),
    ]


def _mail_parameters(mail: Mail, extensions: frozenset[str]) -> bytes:
    """SIZE (RFC 1870), BODY (RFC 6152) and SMTPUTF8 (RFC 6531), where they are offered and needed."""
    parameters = b" SIZE=%d" % len(mail.content) if "size" in extensions else b""
    if "8bitmime" in extensions and not mail.content.isascii():
        parameters += b" BODY=8BITMIME"
    return parameters if _is_ascii_envelope(mail) else parameters + b" SMTPUTF8"


def _stuffed(content: bytes) -> bytes:
    """Dots at line starts doubled (RFC 5321 section 4.5.2), the last line ended."""
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed if stuffed.endswith(b"\r\n") else stuffed + b"\r\n"
