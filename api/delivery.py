"""``/v1/delivery/pause`` and ``/v1/delivery/resume``: stopping and starting delivery, and what is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from api.answers import DeliveryChanged, DeliveryStatus, PauseItem, json_response
from api.authentication import Authentication
from api.command_body import read_command
from api.dependencies import ApiDependencies
from api.problems import UNKNOWN_PARAMETER, Refused
from event_log.delivery_pauses import EVERYWHERE, Pause, pause, pauses, resume
from event_log.log import Log

_Change: TypeAlias = Callable[[Log, str, str, str, str], bool]


class DeliveryPages:
    def __init__(self, dependencies: ApiDependencies, authentication: Authentication) -> None:
        self._log = dependencies.log
        self._patience = dependencies.limits.body
        self._authentication = authentication

    async def status(self, request: Request) -> Response:
        key = await self._authentication.key(request, "notifications:read")
        if request.query_params:
            raise Refused(UNKNOWN_PARAMETER, "This takes no parameters.")
        return json_response(DeliveryStatus(await asyncio.to_thread(self._items, key.instance)))

    async def pause(self, request: Request) -> Response:
        return await self._change(request, pause)

    async def resume(self, request: Request) -> Response:
        return await self._change(request, resume)

    async def _change(self, request: Request, change: _Change) -> Response:
        key = await self._authentication.key(request, "notifications:write")
        members = await read_command(request, self._patience, "channel", "everywhere")
        if members.get("everywhere"):
            await self._authentication.key(request, "operate")
        instance = EVERYWHERE if members.get("everywhere") else key.instance
        channel = members.get("channel") or ""
        changed = await asyncio.to_thread(change, self._log, instance, channel, members["reason"], key.id)
        return json_response(DeliveryChanged(changed, await asyncio.to_thread(self._items, key.instance)))

    def _items(self, instance: str) -> list[PauseItem]:
        return [_item(one) for one in pauses(self._log, instance)]


def _item(one: Pause) -> PauseItem:
    return PauseItem(
        one.instance or None, one.channel or None, one.reason, one.by, one.since, str(one.position)
    )
