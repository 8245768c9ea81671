"""One mail over one open connection: MAIL, RCPT, DATA, the point of no return, the body and its answer."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from event_log.failpoints import failpoint
from notification_domain.outcomes import Delivered, Outcome, Rejected
from workers.channels.port import PointOfNoReturn
from workers.channels.smtp_connection import SmtpConnection
from workers.channels.smtp_mail import WireMail
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

_ENVELOPE: tuple[Stage, ...] = ("mail", "rcpt", "data")


class Transmission:
    """``stage`` tells how far the mail came, and so what a break would mean."""

    def __init__(self, connection: SmtpConnection, mail: WireMail, limits: SmtpSettings) -> None:
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
        mail, extensions = self._mail, connection.extensions
        if "smtputf8" not in extensions and not mail.ascii_envelope:
            return Rejected("local", "the server cannot carry addresses beyond ASCII (SMTPUTF8)")
        commands = (mail.mail_command(extensions), mail.recipient_command(), b"DATA\r\n")
        if "pipelining" in extensions:
            connection.write(b"".join(commands))
            return await self._pipelined()
        return await self._stepwise(commands)

    async def _stepwise(self, commands: Sequence[bytes]) -> Outcome | None:
        for stage, command in zip(_ENVELOPE, commands, strict=True):
            self.stage = stage
            reply = await self._connection.command(command, self._limits.command_timeout)
            if not is_accepted(stage, reply):
                return self._refused(reply)
            failpoint(f"smtp.{stage}")
        return None

    async def _pipelined(self) -> Outcome | None:
        for position, stage in enumerate(_ENVELOPE):
            self.stage = stage
            reply = await self._connection.reply(self._limits.command_timeout)
            if not is_accepted(stage, reply):
                refusal = self._refused(reply)
                await self._skip(len(_ENVELOPE) - position - 1)
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
        await connection.write_all(self._mail.body, limits.command_timeout)
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
