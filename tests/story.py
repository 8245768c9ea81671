"""Tells a story in source events, lets the handler read it, and shows what came of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from event_log.envelope import RecordedEvent, SourceEvent
from event_log.errors import Undecodable
from event_log.intake import Appended, CallerEvent, append
from event_log.log import Log, read_after, read_stream
from notification_domain import identity
from notification_domain.notification import State, fold
from notification_domain.notification_events import Event, NotificationDeclined, NotificationRequested
from notification_domain.policies import Deployment
from projections.handler import handle_batch
from tests.conftest import Clock

ORIGIN = "https://login.acme.example"


class Decided(msgspec.Struct, frozen=True):
    """A notification and the decision it began with."""

    id: UUID
    fact: NotificationRequested | NotificationDeclined


class Story:
    """Events of the instance acme and of the user ann, unless told otherwise."""

    def __init__(self, log: Log, clock: Clock, deployment: Deployment | None = None) -> None:
        self.log = log
        self.clock = clock
        self.deployment = deployment or Deployment()
        self._numbers = itertools.count(1)

    def tell(
        self,
        event_type: str,
        subject: str = "user/ann",
        *,
        instance: str = "acme",
        time: datetime | None = None,
        **data: Any,
    ) -> Appended:
        """Append one event; ``data`` is its payload."""
        event = CallerEvent(
            source="auth",
            id=f"{next(self._numbers)}",
            type=event_type,
            subject=subject,
            data=data,
            time=time,
        )
        answer = append(self.log, instance, [event])
        assert isinstance(answer, tuple)
        return answer[0]

    def add_user(self, user_id: str = "ann", **data: Any) -> Appended:
        person = {
            "user_name": user_id,
            "first_name": user_id.capitalize(),
            "email": f"{user_id}@example.com",
            "phone": "+41791234567",
        }
        return self.tell("user.human.added", f"user/{user_id}", **(person | data))

    def ask_for_code(self, user_id: str = "ann", **data: Any) -> Appended:
        """A code to verify an e-mail address: the plainest trigger."""
        given: dict[str, Any] = {"code": "K7XQ2M", "expiry": 3600, "trigger_origin": ORIGIN} | data
        return self.tell("user.human.email.code.added", f"user/{user_id}", **given)

    def handle(self, *, batch: int = 500) -> int:
        """Let the handler catch up; how many events it moved over."""
        moved = 0
        while step := handle_batch(self.log, self.clock, self.deployment, batch=batch):
            moved += step
        return moved

    def decisions(self) -> list[Decided]:
        """In the order of the log."""
        return [
            Decided(event.stream, event.fact)
            for event in self.events(ours=True)
            if isinstance(event.fact, NotificationRequested | NotificationDeclined)
        ]

    def decision(self) -> NotificationRequested | NotificationDeclined:
        (only,) = self.decisions()
        return only.fact

    def request(self) -> NotificationRequested:
        decided = self.decision()
        assert isinstance(decided, NotificationRequested), decided
        return decided

    def declined(self) -> NotificationDeclined:
        decided = self.decision()
        assert isinstance(decided, NotificationDeclined), decided
        return decided

    def events(self, *, ours: bool) -> list[RecordedEvent]:
        """Everything in the log that is, or is not, about notifications."""
        with self.log.database.connection() as connection:
            found = read_after(self.log, connection.cursor(), 0, 100_000, ours=ours, callers=not ours)
        return [event for event in found.events if event.topic.startswith("notification.") == ours]

    def facts(self, notification: UUID) -> list[Event]:
        facts = [event.fact for event in read_stream(self.log, notification)]
        assert not [fact for fact in facts if isinstance(fact, Undecodable | SourceEvent)]
        return facts  # type: ignore[return-value]  # as was just seen

    def state(self, notification: UUID) -> State:
        return fold(self.facts(notification))

    def source_types(self, subject: str = "user/ann", instance: str = "acme") -> list[str]:
        return [event.topic for event in read_stream(self.log, identity.stream_id(instance, subject))]

    def rows(self, table: str, columns: str = "count(*)") -> Sequence[Any]:
        """Columns of a table, ordered by the first."""
        with self.log.database.connection() as connection:
            statement = f"SELECT {columns} FROM {table} ORDER BY 1"
            return connection.execute(statement.encode()).fetchall()

    def count(self, table: str) -> int:
        (row,) = self.rows(table)
        return int(row[0])
