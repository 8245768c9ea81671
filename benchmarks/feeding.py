"""Triggers of three kinds for people who get one message each, and a client that repeats until it is told."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from benchmarks.checker import SOURCE, Told
from event_log.intake import CallerEvent, append
from event_log.log import Log

EXPIRY = timedelta(hours=1)
PATIENCE = 4.0
"""Seconds a client waits for an answer before it asks again."""
MAIL_CODE = "user.human.email.code.added"
TEXT_CODE = "user.human.phone.code.added"
INVITATION = "user.human.invite.code.added"
_KINDS = (MAIL_CODE,) * 6 + (TEXT_CODE,) * 2 + (INVITATION,) * 2
"""Sent again once, sent again once, and never sent again, when nobody knows what became of them."""


def kind(number: int) -> str:
    return _KINDS[number % len(_KINDS)]


def phone(number: int) -> str:
    return f"+4179{number:07d}"


def person(number: int) -> dict[str, Any]:
    data = {
        "user_name": f"user{number}",
        "first_name": "Ada",
        "last_name": f"Number {number}",
        "email": f"user{number}@bench.example",
        "phone": phone(number),
        "organisation_id": "bench",
    }
    return _event(f"user-{number}", "user.human.added", number, data)


def trigger(number: int, event_type: str = "") -> dict[str, Any]:
    data = {
        "code": f"C{number:07d}",
        "expiry": int(EXPIRY.total_seconds()),
        "trigger_origin": "https://login.bench.example",
    }
    return _event(f"trigger-{number}", event_type or kind(number), number, data)


def _event(event_id: str, event_type: str, number: int, data: dict[str, Any]) -> dict[str, Any]:
    envelope = {"specversion": "1.0", "source": SOURCE, "id": event_id}
    return envelope | {"type": event_type, "subject": f"user/{number}", "data": data}


def tell(log: Log, instance: str, events: Sequence[dict[str, Any]]) -> None:
    """Straight to the log, in one transaction, what would take longer over REST."""
    wanted = ("source", "id", "type", "subject", "data")
    told = [CallerEvent(**{name: event[name] for name in wanted}) for event in events]
    answer = append(log, instance, told)
    assert isinstance(answer, tuple), answer


class Client:
    """Appends over REST, again and again until it is told 2xx."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.told: dict[str, Told] = {}
        self.repeats = 0
        self.newest_answered = 0.0
        """When the newest of the requests that were told 2xx was sent, on the monotonic clock."""
        self._session = session

    async def append(self, events: Sequence[dict[str, Any]], pause: float = 0.05) -> None:
        """Remembers what it was told of each trigger."""
        while True:
            asked = time.monotonic()
            answer = await self.ask(events)
            if answer is not None:
                self.newest_answered = max(self.newest_answered, asked)
                break
            self.repeats += 1
            await asyncio.sleep(pause)
        for event, item in zip(events, answer, strict=True):
            if event["type"] in _KINDS:
                self._note(event, int(item["position"]))

    async def ask(self, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]] | None:
        """What it was told of each event; None when it was not told that all are stored."""
        try:
            async with self._session.post(
                f"{self.url}/v1/events",
                data=json.dumps(events),
                headers={"Content-Type": "application/cloudevents-batch+json"},
            ) as answer:
                body = await answer.json(content_type=None)
                if answer.status not in {200, 201}:
                    if answer.status < 429:  # whatever comes before is our own mistake
                        raise RuntimeError(f"{answer.status}: {body}")
                    return None
                items: list[dict[str, Any]] = body["items"]
                return items
        except (aiohttp.ClientError, TimeoutError, json.JSONDecodeError):
            return None

    def _note(self, event: dict[str, Any], position: int) -> None:
        number = int(event["id"].rpartition("-")[2])
        self.told[event["id"]] = Told(
            event=event["id"],
            position=position,
            rule=event["type"],
            expires_at=datetime.now(UTC) + EXPIRY,
            phone=phone(number) if event["type"] == TEXT_CODE else "",
        )


def session(key: str, patience: float = PATIENCE) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {key}"}, timeout=aiohttp.ClientTimeout(total=patience)
    )
