"""One test message through the configured provider, and its outcome in plain words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import assert_never

import msgspec

from notification_domain.outcomes import Deferred, Delivered, Outcome, Rejected, Unknown
from tidings.channels import channels, sender
from tidings.composition import clock
from tidings.errors import TidingsError
from tidings.settings import Settings
from workers.channels.port import Message, TextMessage
from workers.rendering.errors import TemplateError
from workers.rendering.mail import Content, Envelope, Sender, assemble
from workers.rendering.quoted_printable import encoded

_SUBJECT = "Test message from Tidings"
_TEXT = "This is a test. If you can read it, the provider of this deployment works."
_HTML = f"<!DOCTYPE html><html lang='en'><body><p>{_TEXT}</p></body></html>"


class Trial(msgspec.Struct, frozen=True):
    delivered: bool
    outcome: str
    provider: str
    stage: str = ""
    """Where in the conversation it failed."""
    answer: str = ""
    """What the provider said, in its own words."""
    message_id: str = ""
    advice: str = ""


async def try_provider(settings: Settings, channel: str, to: str, chance: Callable[[int], bytes]) -> Trial:
    """Raises TidingsError when there is no provider for the channel or the address cannot be used."""
    chosen = channels(settings).get(channel)
    if chosen is None:
        raise TidingsError(
            f"no provider is set for {channel}, and no sandbox's ports either; "
            "set smtp or twilio in tidings.yaml or as TIDINGS_SMTP__… or TIDINGS_TWILIO__…"
        )
    message = _message(channel, to, sender(settings), clock(), chance)
    try:
        outcome = await chosen.deliver(message, _go_ahead)
    finally:
        await chosen.close()
    return _judged(outcome, chosen.provider)


async def _go_ahead() -> bool:
    return True


def _message(channel: str, to: str, from_: Sender, now: datetime, chance: Callable[[int], bytes]) -> Message:
    if channel == "sms":
        return TextMessage(to, _TEXT)
    domain = from_.address.rpartition("@")[2]
    envelope = Envelope(f"<test.{chance(12).hex()}@{domain}>", now, from_)
    try:
        return assemble(to, envelope, Content(_SUBJECT, encoded(_TEXT), encoded(_HTML)))
    except TemplateError as error:
        raise TidingsError(f"{to} cannot be written to: {error}") from None


def _judged(outcome: Outcome | None, provider: str) -> Trial:
    match outcome:
        case Delivered(provider_message_id, reply):
            return Trial(True, "delivered", provider, answer=reply, message_id=provider_message_id)
        case Deferred(stage, error, _, account_fault):
            advice = "the account's settings are at fault" if account_fault else "it may work later"
            return Trial(False, "deferred", provider, stage, error, advice=advice)
        case Rejected(stage, error, suppress):
            advice = "the provider refuses this recipient's address" if suppress else ""
            return Trial(False, "rejected", provider, stage, error, advice=advice)
        case Unknown(stage, error):
            return Trial(False, "unknown", provider, stage, error, advice="it may have arrived all the same")
        case None:
            return Trial(False, "not sent", provider)
        case _:
            assert_never(outcome)
