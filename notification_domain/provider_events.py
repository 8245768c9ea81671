"""What an instance's stream says about its SMS providers, as callers and our own commands append it."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

Text: TypeAlias = Annotated[str, Meta(max_length=2000)]
ProviderId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=200)]

PREFIX = "instance.sms.config"
"""The system these events come from leaves out the dot that should follow; both spellings are understood."""


class _Setting(msgspec.Struct, frozen=True, kw_only=True):
    id: ProviderId
    organisation_id: Text = ""


class TwilioAdded(_Setting, frozen=True, kw_only=True):
    description: Text = ""
    sid: Text = ""
    token: Text = ""
    """In the log a reference to the secret."""
    sender_number: Text = ""
    verify_service_sid: Text = ""


class TwilioChanged(_Setting, frozen=True, kw_only=True):
    """What is None stays as it was."""

    description: Text | None = None
    sid: Text | None = None
    sender_number: Text | None = None
    verify_service_sid: Text | None = None


class TwilioTokenChanged(_Setting, frozen=True, kw_only=True):
    token: Text


class HttpAdded(_Setting, frozen=True, kw_only=True):
    description: Text = ""
    endpoint: Text = ""
    signing_key: Text = ""
    """In the log a reference to the secret."""


class HttpChanged(_Setting, frozen=True, kw_only=True):
    """What is None stays as it was."""

    description: Text | None = None
    endpoint: Text | None = None
    signing_key: Text | None = None


class ProviderActivated(_Setting, frozen=True, kw_only=True):
    """From here on messages leave through this one alone."""


class ProviderDeactivated(_Setting, frozen=True, kw_only=True):
    pass


class ProviderRemoved(_Setting, frozen=True, kw_only=True):
    pass


ProviderFact: TypeAlias = (
    TwilioAdded | TwilioChanged | TwilioTokenChanged | HttpAdded | HttpChanged
    | ProviderActivated | ProviderDeactivated | ProviderRemoved
)  # fmt: skip

_NAMES: dict[str, type[ProviderFact]] = {
    "twilio.added": TwilioAdded,
    "twilio.changed": TwilioChanged,
    "twilio.token.changed": TwilioTokenChanged,
    "http.added": HttpAdded,
    "http.changed": HttpChanged,
    "activated": ProviderActivated,
    "deactivated": ProviderDeactivated,
    "removed": ProviderRemoved,
    # As these were called before there were providers of another kind.
    "twilio.activated": ProviderActivated,
    "twilio.deactivated": ProviderDeactivated,
    "twilio.removed": ProviderRemoved,
}

TYPES: dict[str, type[ProviderFact]] = {
    f"{PREFIX}{dot}{name}": fact for name, fact in _NAMES.items() for dot in ("", ".")
}


def type_of(fact: ProviderFact) -> str:
    """The event type our own commands append a fact as."""
    name = next(name for name, kind in _NAMES.items() if kind is type(fact))
    return f"{PREFIX}.{name}"
