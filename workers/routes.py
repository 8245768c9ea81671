"""Which way a message goes: what a worker asks before it attempts anything."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

import msgspec

from workers.channels.port import Channel
from workers.rendering.mail import Sender


class Route(msgspec.Struct, frozen=True):
    """How messages of one channel travel: the channel, and whom they come from."""

    channel: Channel
    sender: Sender
    texts: bool = True
    """Whether it carries texts of ours."""
    verifies: bool = False
    """Whether the provider makes, sends and checks codes of its own."""


class Closed(msgspec.Struct, frozen=True):
    """There is a provider, but nothing may be attempted through it now; no message is to blame."""

    stage: str
    error: str


class Routes(Protocol):
    def channels(self) -> Collection[str]:
        """The channels whose notifications are to be claimed."""

    def refresh(self, wanted: Collection[tuple[str, str]]) -> None:
        """Learn what instances have set for these channels; blocks, and raises LogUnavailable."""

    def route(self, instance: str, channel: str) -> Route | Closed | None:
        """None: no provider is configured."""

    async def close(self) -> None:
        """Close every channel; nothing is sent after that."""


class FixedRoutes:
    """The same routes for every instance."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self._routes = routes

    def channels(self) -> Collection[str]:
        return list(self._routes)

    def refresh(self, wanted: Collection[tuple[str, str]]) -> None:
        """Nothing can have changed."""

    def route(self, instance: str, channel: str) -> Route | Closed | None:
        del instance
        return self._routes.get(channel)

    async def close(self) -> None:
        for route in self._routes.values():
            await route.channel.close()
