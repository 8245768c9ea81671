"""Where each accepted message lies in the ledger: small enough to keep in memory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec


class Heading(msgspec.Struct, frozen=True, gc=False):
    """The part of a ledger line that selections look at."""

    channel: str
    id: str
    received_at: datetime
    to: tuple[str, ...]


class Place(msgspec.Struct, frozen=True, gc=False):
    """A message's heading and its bytes; ``edition`` counts how often the ledger was emptied before it."""

    heading: Heading
    offset: int
    length: int
    edition: int


class Selection(msgspec.Struct, frozen=True):
    """Which messages a caller wants; None leaves that question open."""

    channel: str | None = None
    to: str | None = None
    since: datetime | None = None

    def holds(self, heading: Heading) -> bool:
        return (
            (self.channel is None or heading.channel == self.channel)
            and (self.since is None or heading.received_at >= self.since)
            and (self.to is None or self._is_to(heading))
        )

    def _is_to(self, heading: Heading) -> bool:
        wanted = (self.to or "").casefold()
        return any(recipient.casefold() == wanted for recipient in heading.to)


class MessageIndex:
    def __init__(self) -> None:
        self._places: list[Place] = []
        self._by_id: dict[str, Place] = {}

    def __len__(self) -> int:
        return len(self._places)

    def add(self, place: Place) -> None:
        self._places.append(place)
        self._by_id[place.heading.id] = place

    def get(self, message_id: str) -> Place | None:
        return self._by_id.get(message_id)

    def newest_id(self) -> str | None:
        return self._places[-1].heading.id if self._places else None

    def select(self, selection: Selection) -> list[Place]:
        """Newest first."""
        return [place for place in self._newest_first() if selection.holds(place.heading)]

    def clear(self) -> None:
        self._places.clear()
        self._by_id.clear()

    def _newest_first(self) -> Iterator[Place]:
        return reversed(self._places)
