"""The log of a finished schedule, decoded, and looked up in the ways the checks need."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, TypeAlias
from uuid import UUID

from benchmarks.simulated.loop import Process
from benchmarks.simulated.model import Calm, ModelDatabase, ModelLog
from benchmarks.simulated.providers import Copy
from benchmarks.simulated.rules import is_removed
from benchmarks.simulated.world import World
from event_log.envelope import RecordedEvent, SourceEvent
from notification_domain import identity
from notification_domain.notification_events import NotificationDeclined, NotificationRequested

Owner: TypeAlias = tuple[str, str]
"""instance, subject"""


def is_poison(event: RecordedEvent) -> bool:
    return isinstance(event.fact, SourceEvent) and "soon" in event.fact.data.values()


class Record:
    def __init__(self, world: World) -> None:
        self.world = world
        self.log = ModelLog(ModelDatabase(world.tables, Calm(), world.loop.time), world.chance)
        with self.log.database.connection() as connection:
            self.events = self.log.decode(connection.cursor(), world.tables.log)
        self.notifications: dict[UUID, list[RecordedEvent]] = defaultdict(list)
        self.sources: list[RecordedEvent] = []
        self.subjects: dict[Owner, list[RecordedEvent]] = defaultdict(list)
        for event in self.events:
            if event.topic.startswith("notification."):
                self.notifications[event.stream].append(event)
            elif isinstance(event.fact, SourceEvent):
                self.sources.append(event)
                self.subjects[event.instance, event.fact.subject].append(event)
        self.quarantined = {place: row[2] for (_, place), row in world.tables.quarantine.items()}
        """Reasons by position."""
        self.frozen = {row[0] for row in world.tables.quarantine.values()}
        self.copies: dict[UUID, list[Copy]] = defaultdict(list)
        for copy in world.ledger:
            self.copies[copy.notification].append(copy)
        self.living = Process(world.loop, "checks")

    def decisions(self) -> Iterator[tuple[RecordedEvent, Any]]:
        for events in self.notifications.values():
            fact = events[0].fact
            if isinstance(fact, NotificationRequested | NotificationDeclined):
                yield events[0], fact

    def cause(self, instance: str, fact: Any) -> RecordedEvent:  # noqa: ANN401  # a decision
        event: RecordedEvent = self.subjects[instance, fact.source.subject][fact.source.version - 1]
        return event

    def later(self, instance: str, fact: Any, before: int) -> list[RecordedEvent]:  # noqa: ANN401
        """Events of the source stream after the cause, and before a position."""
        known = self.subjects[instance, fact.source.subject]
        return [e for e in known if e.version > fact.source.version and e.position < before]

    def user_of(self, instance: str, request: Any, before: int) -> str:  # noqa: ANN401
        """Whom it goes to: the request says, else the session as it was."""
        if request.user_id:
            return str(request.user_id)
        session = self.subjects[instance, request.source.subject]
        checked = [e for e in session if e.topic == "session.user.checked" and e.position < before]
        return str(checked[-1].fact.data["user_id"]) if checked else ""  # type: ignore[union-attr]  # a source event

    def is_removed_around(self, instance: str, fact: Any, before: int) -> bool:  # noqa: ANN401  # a decision
        """Whether the organisation or the instance is gone in whose name it would go out."""
        around = self._around(instance, fact, before)
        return any(is_removed(self._types(instance, subject, before)) for subject in around)

    def poisoned_around(self, instance: str, fact: Any, before: int) -> list[int]:  # noqa: ANN401
        """Where these streams were frozen: until a redrive nobody knows what they tell from there on."""
        known = [
            e for subject in self._around(instance, fact, before) for e in self.subjects[instance, subject]
        ]
        return [e.position for e in known if is_poison(e) and e.position < before]

    def _around(self, instance: str, fact: Any, before: int) -> tuple[str, str]:  # noqa: ANN401
        organisation = fact.organisation_id or self._organisation_of(instance, fact, before)
        return "instance", f"organisation/{organisation}"

    def _organisation_of(self, instance: str, fact: Any, before: int) -> str:  # noqa: ANN401
        known = self.subjects[instance, f"user/{self.user_of(instance, fact, before)}"]
        told = [e.fact.data.get("org_id", "") for e in known if e.topic == "user.human.added"]  # type: ignore[union-attr]
        return str(told[0]) if told else ""

    def doubtful(self, instance: str, request: Any, before: int) -> bool:  # noqa: ANN401
        """Whether poison stood on the stream of its cause or of its user by then."""
        subjects = {request.source.subject, f"user/{self.user_of(instance, request, before)}"}
        known = [event for subject in subjects for event in self.subjects[instance, subject]]
        return any(is_poison(event) and event.position < before for event in known)

    def user_types(self, instance: str, user_id: str, before: int) -> list[str]:
        return self._types(instance, f"user/{user_id}", before)

    def _types(self, instance: str, subject: str, before: int) -> list[str]:
        return [e.topic for e in self.subjects[instance, subject] if e.position < before]

    def id_of(self, event: RecordedEvent, rule: str) -> UUID:
        fact = event.fact
        assert isinstance(fact, SourceEvent)
        cause = identity.event_id(event.instance, fact.source, fact.id)
        return identity.notification_id(event.instance, cause, rule)
