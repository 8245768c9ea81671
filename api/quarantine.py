"""``/v1/quarantine``: events of the key's instance that could not be digested, and trying them again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from api.answers import QuarantinedEvent, QuarantinePage, RedrivenStream, json_response
from api.authentication import Authentication
from api.dependencies import ApiDependencies
from api.history_parameters import position_parameter
from api.problems import NOT_FOUND, UNKNOWN_PARAMETER, Refused
from api.timeline import mask_text
from projections import quarantine
from projections.quarantine import SetAside
from projections.redrive import Redriven, redrive

PAGE = 100


class Quarantine:
    def __init__(self, dependencies: ApiDependencies, authentication: Authentication) -> None:
        self._dependencies = dependencies
        self._authentication = authentication

    async def list_events(self, request: Request) -> Response:
        key = await self._authentication.key(request, "operate")
        after = _after(request.query_params)
        found = await asyncio.to_thread(self._page, key.instance, after)
        following = str(found[PAGE - 1].position) if len(found) > PAGE else None
        return json_response(QuarantinePage(_items(found[:PAGE]), following))

    async def redrive(self, request: Request) -> Response:
        key = await self._authentication.key(request, "operate")
        text = request.path_params["position"]
        redriven = await asyncio.to_thread(self._redrive, key.instance, text)
        if redriven is None:
            raise Refused(NOT_FOUND, f"Nothing is in quarantine at position {text[:20]}.")
        handled = [str(position) for position in redriven.handled]
        return json_response(RedrivenStream(handled, _items(redriven.remaining)))

    def _page(self, instance: str, after: int) -> list[SetAside]:
        with self._dependencies.database.connection() as connection:
            # One row more than wanted tells whether there is another page.
            return quarantine.page(connection.cursor(), instance, after, PAGE + 1)

    def _redrive(self, instance: str, text: str) -> Redriven | None:
        given = self._dependencies
        if not (text.isascii() and text.isdecimal() and len(text) < len(str(2**63))):
            return None
        return redrive(given.log, int(text), instance, given.clock, given.deployment)


def _after(query: QueryParams) -> int:
    unknown = set(query) - {"after"}
    if unknown:
        raise Refused(UNKNOWN_PARAMETER, f"{min(unknown)[:50]!r} is not known here; known is after.")
    return position_parameter("after", query.getlist("after")) if "after" in query else 0


def _items(found: Sequence[SetAside]) -> list[QuarantinedEvent]:
    return [
        QuarantinedEvent(str(one.position), one.type, one.stream, mask_text(one.reason), one.quarantined_at)
        for one in found
    ]
