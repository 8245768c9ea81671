"""The port every channel implements, and the finished messages that travel through it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

import msgspec

from notification_domain.outcomes import Outcome


class Mail(msgspec.Struct, frozen=True, gc=False):
    """One finished e-mail for one recipient; ``content`` is the whole RFC 5322 message, CRLF line ends."""

    sender: str
    """Envelope sender, a bare address."""
    recipient: str
    """Envelope recipient, a bare address."""
    content: bytes


class Context(msgspec.Struct, frozen=True):
    """What a message came from, for receivers that write their own text."""

    message_id: str = ""
    """The same over all attempts of a cycle."""
    event_type: str = ""
    arguments: dict[str, str] = {}
    """Every variable of the text by its name, the plain code among them."""


class TextMessage(msgspec.Struct, frozen=True):
    """One finished text message; ``recipient`` is an E.164 number such as ``+41791234567``."""

    recipient: str
    body: str
    context: Context = Context()
    verification: bool = False
    """The provider is to make and send a code of its own; ``body`` is empty."""
    reference: str = ""
    """What a callback names this attempt by, at the end of its address; sealed, for no one else to read."""


Message: TypeAlias = Mail | TextMessage

PointOfNoReturn: TypeAlias = Callable[[], Awaitable[bool]]
"""Records that transmission begins; False means that this worker must not transmit."""


class Channel(Protocol):
    """One way for a message to travel, bound to one provider account."""

    provider: str
    """The account's name as recorded in events."""
    at_once: int
    """How many messages it carries at the same time."""

    async def deliver(self, message: Message, begin: PointOfNoReturn) -> Outcome | None:
        """Deliver one message; None when ``begin`` refused and nothing was transmitted.

        Awaits ``begin`` exactly once, just before the next hop could take the message.
        Never raises for what a provider or a network does: that is the outcome.
        """

    async def close(self) -> None:
        """Give every connection back; a channel is not used after that."""
