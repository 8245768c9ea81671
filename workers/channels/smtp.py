"""The e-mail channel: SMTP over pooled connections."""

from __future__ import annotations

from event_log.failpoints import failpoint
from notification_domain.outcomes import Outcome, Rejected
from workers.channels.addresses import Unfit
from workers.channels.port import Message, PointOfNoReturn, TextMessage
from workers.channels.smtp_connection import SmtpConnection
from workers.channels.smtp_mail import WireMail, wire_mail
from workers.channels.smtp_opening import open_connection
from workers.channels.smtp_pool import SmtpPool
from workers.channels.smtp_settings import SmtpSettings
from workers.channels.smtp_transmission import Transmission


class SmtpChannel:
    """Delivers mails through one SMTP account; implements the port ``Channel``."""

    def __init__(self, settings: SmtpSettings, *, provider: str) -> None:
        self.provider = provider
        self.at_once = settings.connections
        self._settings = settings
        self._pool = SmtpPool(settings)

    async def deliver(self, message: Message, begin: PointOfNoReturn) -> Outcome | None:
        """As the port says; cancelled, it drops the connection, and the mail may or may not have gone."""
        if isinstance(message, TextMessage):
            return Rejected("local", "a text message cannot travel by SMTP")
        mail = wire_mail(message)
        if isinstance(mail, Unfit):
            return Rejected("local", mail.why)
        async with self._pool.slots:
            return await self._send(mail, begin)

    async def close(self) -> None:
        await self._pool.close()

    async def _send(self, mail: WireMail, begin: PointOfNoReturn) -> Outcome | None:
        pooled = await self._pool.take()
        if pooled is not None:
            transmission = Transmission(pooled, mail, self._settings)
            outcome = await self._transmit(transmission, pooled, begin)
            if not transmission.stale:
                return outcome
        opened = await open_connection(self._settings)
        if not isinstance(opened, SmtpConnection):
            return opened
        failpoint("smtp.connected")
        return await self._transmit(Transmission(opened, mail, self._settings), opened, begin)

    async def _transmit(
        self, transmission: Transmission, connection: SmtpConnection, begin: PointOfNoReturn
    ) -> Outcome | None:
        try:
            return await transmission.run(begin)
        finally:
            self._pool.give_back(connection)
