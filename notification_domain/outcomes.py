"""The four outcomes a channel can report for one attempt, and nothing between them."""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class Delivered(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The next hop took responsibility; whether a person ever reads it is another matter."""

    provider_message_id: str = ""
    reply: str = ""


class Deferred(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Certainly not sent; may be tried again within attempts and expiry."""

    stage: str
    error: str
    retry_after: float | None = None
    """Seconds the provider asked us to wait."""
    account_fault: bool = False
    """The provider account is at fault, not this message (bad credentials, untrusted certificate)."""


class Rejected(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Certainly not sent, and never will be in this form."""

    stage: str
    error: str
    suppress: bool = False
    """The recipient's address itself is bad."""


class Unknown(msgspec.Struct, frozen=True, tag=True, gc=False):
    """May have been sent: the next hop's answer never came or could not be read."""

    stage: str
    error: str


Outcome: TypeAlias = Delivered | Deferred | Rejected | Unknown
