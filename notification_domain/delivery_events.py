"""What operators decide about delivery as a whole: the events of its settings stream."""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class DeliveryPaused(msgspec.Struct, frozen=True, kw_only=True):
    """From here on nothing is claimed; expiry runs on."""

    channel: str
    """Empty: every channel."""
    reason: str
    by: str
    """Whose key."""


class DeliveryResumed(msgspec.Struct, frozen=True, kw_only=True):
    """Ends the pause of just this channel; with an empty one, the pause of every channel."""

    channel: str
    reason: str
    by: str


SettingsEvent: TypeAlias = DeliveryPaused | DeliveryResumed
