"""Plays the demo through the real API and tells of each notification as it is delivered."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from event_log.api_keys import create_key, verify_key
from event_log.intake import ensure_instance
from event_log.log import Log
from tidings.announcing import Announce
from tidings.composition import clock, prepared_log
from tidings.demo_story import Step, acts
from tidings.errors import TidingsError
from tidings.rest import Service
from tidings.sandbox_use import CHANNELS, channels_without_provider, sandbox_is_wanted
from tidings.secret_key import write_once
from tidings.settings import Settings

INSTANCE = "demo"
SCOPES = ("events:append", "notifications:read", "notifications:write")
OPEN = frozenset({"waiting", "attempting", "transmitting"})
ACT_SECONDS = 60.0
"""How long an act's messages are waited for before the story goes on."""
_LOOK_SECONDS = 0.1


async def play_demo(settings: Settings, url: str, announce: Announce) -> None:
    """Never raises for what goes wrong on the way: it is only a demo."""
    if not sandbox_is_wanted(settings) or channels_without_provider(settings) != CHANNELS:
        announce(
            "demo.left_out", ["the demo is left out: its people are invented, and a real provider is set"]
        )
        return
    try:
        key = await asyncio.to_thread(demo_key, settings)
        announce("demo.begins", [f"address  {url}", f"API key  {key}"], address=url, key=key)
        async with Service(url, key) as service:
            await _Teller(service, announce).tell()
        announce("demo.over", list(_ways_on(url, key)), sandbox=f"{url}/sandbox", docs=f"{url}/docs")
    except TidingsError as error:
        announce("demo.failed", [f"the demo stopped: {error}"], reason=str(error))


def demo_key(settings: Settings) -> str:
    """The API key of the demo's instance, kept in the data directory so that the next run has it again."""
    file = settings.data_dir / "demo.key"
    with prepared_log(settings, "demo") as log:
        kept = file.read_text().strip() if file.exists() else ""
        if kept and verify_key(log.database, kept):
            return kept
        return _new_key(log, file)


def _new_key(log: Log, file: Path) -> str:
    ensure_instance(log, INSTANCE)
    _, text = create_key(log.database, INSTANCE, SCOPES, "demo", clock(), os.urandom)
    file.unlink(missing_ok=True)
    write_once(file, text)
    return text


class _Teller:
    def __init__(self, service: Service, announce: Announce) -> None:
        self._service = service
        self._announce = announce

    async def tell(self) -> None:
        new = [await self._act(steps) for steps in acts()]
        if not any(new):
            self._announce(
                "demo.known", ["demo: all its events are in the log already; nothing is sent again"]
            )

    async def _act(self, steps: Sequence[Step]) -> int:
        """How many of its events were new."""
        batch = msgspec.json.encode([step.cloud_event() for step in steps])
        items = (await self._service.append(batch))["items"]
        new = {item["id"] for item in items if not item["duplicate"]}
        awaited = {step.id for step in steps if step.notifies}
        async for item in self._closing(awaited):
            if item["source_event"]["id"] in new:
                self._announce("demo.notification", [_told(item)], notification=item)
        return len(new)

    async def _closing(self, events: set[str]) -> AsyncIterator[dict[str, Any]]:
        """The notifications of these events, each as soon as it is open no more."""
        deadline = _now() + ACT_SECONDS
        while events and _now() < deadline:
            for event_id in sorted(events):
                page = await self._service.get("/v1/notifications", {"event_id": event_id})
                if page["items"] and all(item["state"] not in OPEN for item in page["items"]):
                    events.discard(event_id)
                    for item in page["items"]:
                        yield item
            await asyncio.sleep(_LOOK_SECONDS)


def _told(item: dict[str, Any]) -> str:
    state = "delivered" if item["state"] == "sent" else f"{item['state']} ({item.get('reason')})"
    return f"{state:10} {item['message_type']:16} {item['channel']:6} to user {item['user_id']}"


def _ways_on(url: str, key: str) -> Iterator[str]:
    yield ""
    yield f"what arrived       {url}/sandbox"
    yield f"API documentation  {url}/docs"
    yield f"history            curl -H 'Authorization: Bearer {key}' {url}/v1/notifications"


def _now() -> float:
    return asyncio.get_running_loop().time()
