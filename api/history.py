"""``GET /v1/notifications`` and ``/v1/notifications/{id}``: what became of every notification."""

from __future__ import annotations

import asyncio
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from api.answers import NotificationDetail, NotificationPage, item, item_fields, json_response
from api.authentication import Authentication
from api.dependencies import ApiDependencies
from api.history_parameters import ListRequest, read_list_request
from api.page_cursor import CursorSigner
from api.problems import NOT_FOUND, PROJECTION_BEHIND, UNKNOWN_PARAMETER, Refused
from api.timeline import timeline
from event_log.log import read_stream
from projections.history import Progress, fold, list_notifications, progress

_LOOK_AGAIN = 0.05
"""Seconds between looks at how far the history has come."""


class HistoryPages:
    def __init__(self, dependencies: ApiDependencies, authentication: Authentication) -> None:
        self._database = dependencies.database
        self._log = dependencies.log
        self._patience = dependencies.limits.min_position
        self._authentication = authentication
        self._cursors = CursorSigner(dependencies.cursor_key)

    async def list_notifications(self, request: Request) -> Response:
        key = await self._authentication.key(request, "notifications:read")
        wanted = read_list_request(request.query_params)
        if wanted.min_position is not None:
            await self._wait_for(wanted.min_position)
        return json_response(await asyncio.to_thread(self._page, key.instance, wanted))

    async def show_notification(self, request: Request) -> Response:
        key = await self._authentication.key(request, "notifications:read")
        if request.query_params:
            raise Refused(UNKNOWN_PARAMETER, "A single notification takes no parameters.")
        wanted = notification_id(request.path_params["id"])
        return json_response(await asyncio.to_thread(self._detail, key.instance, wanted))

    async def _wait_for(self, position: int) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        while (reached := await asyncio.to_thread(self._progress)).position < position:
            if loop.time() >= deadline:
                raise Refused(
                    PROJECTION_BEHIND,
                    f"The history has come to position {reached.position}, not yet to {position}.",
                    members={"position": str(reached.position), "lag_ms": reached.lag_ms},
                    headers={"Retry-After": "1"},
                )
            await asyncio.sleep(_LOOK_AGAIN)

    def _progress(self) -> Progress:
        with self._database.connection() as connection:
            return progress(connection)

    def _page(self, instance: str, wanted: ListRequest) -> NotificationPage:
        listed = wanted.listed(instance)
        before = None if wanted.cursor is None else self._cursors.read(wanted.cursor, listed)
        with self._database.connection() as connection:
            # Asked before the rows are read: what it says is in them for certain.
            reached = progress(connection)
            # One row more than wanted tells whether there is another page.
            rows = list_notifications(connection, instance, wanted.filters, before, wanted.limit + 1)
        more = len(rows) > wanted.limit
        following = self._cursors.sign(rows[wanted.limit - 1].position, listed) if more else None
        items = [item(row) for row in rows[: wanted.limit]]
        return NotificationPage(items, following, str(reached.position), reached.lag_ms)

    def _detail(self, instance: str, wanted: UUID) -> NotificationDetail:
        # Folded from the log itself, so that a single notification is never behind.
        events = read_stream(self._log, wanted)
        notification = fold(events)
        if notification is None or notification.instance_id != instance:
            raise Refused(NOT_FOUND, f"There is no notification {wanted}.")
        return NotificationDetail(**item_fields(notification), timeline=timeline(events))


def notification_id(text: str) -> UUID:
    """Raises Refused with 404 for what can be no id."""
    try:
        return UUID(text)
    except ValueError:
        raise Refused(NOT_FOUND, f"There is no notification {text[:50]!r}.") from None
