"""``/health/live``, ``/health/ready`` and ``/metrics``: for those who run it, without a key."""

from __future__ import annotations

import asyncio

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from api.answers import Health, json_response
from api.dependencies import ApiDependencies
from api.metrics import Metrics
from api.problems import NOT_READY, Refused
from event_log.errors import EventLogError
from projections.standing import missing_tables

_SOON = {"Retry-After": "1"}


class HealthPages:
    def __init__(self, dependencies: ApiDependencies, metrics: Metrics) -> None:
        self._database = dependencies.database
        self._metrics = metrics

    async def live(self, _: Request) -> Response:
        return json_response(Health("live"))

    async def ready(self, _: Request) -> Response:
        missing = await asyncio.to_thread(self._missing)
        if missing:
            raise Refused(
                NOT_READY, f"Missing: {', '.join(missing)}.", headers=_SOON, members={"missing": missing}
            )
        return json_response(Health("ready"))

    async def metrics(self, _: Request) -> Response:
        text = await asyncio.to_thread(self._metrics.text)
        return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    def _missing(self) -> list[str]:
        try:
            with self._database.connection() as connection:
                return [f"table {name}" for name in missing_tables(connection)]
        except EventLogError:
            return ["database"]
