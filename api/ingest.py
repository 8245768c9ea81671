"""``POST /v1/events``: what other services append, answered only after the commit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import assert_never

from starlette.requests import Request
from starlette.responses import Response

from api.answers import AppendedEvent, AppendedEvents, json_response
from api.authentication import Authentication
from api.cloud_events import BATCH, EXPECTED_VERSION, MAX_BATCH_BYTES, MAX_EVENT_BYTES, READERS, SINGLE, UTF8
from api.dependencies import ApiDependencies
from api.metrics import Metrics
from api.problems import (
    EVENT_CHANGED,
    LOG_UNAVAILABLE,
    UNSUPPORTED_MEDIA_TYPE,
    VERSION_CONFLICT,
    Fault,
    Refused,
)
from api.request_body import read_body
from event_log.intake import Appended, Batch, BatchAnswer, OtherBody, VersionConflict

_MOST = {SINGLE: MAX_EVENT_BYTES, BATCH: MAX_BATCH_BYTES}
_WORTH_A_THREAD = 32 * 1024
"""Bytes from which reading events would keep the loop from others for too long."""


class Ingest:
    def __init__(
        self, dependencies: ApiDependencies, authentication: Authentication, metrics: Metrics
    ) -> None:
        self._intake = dependencies.intake
        self._limits = dependencies.limits
        self._authentication = authentication
        self._metrics = metrics

    async def append_events(self, request: Request) -> Response:
        key = await self._authentication.key(request, "events:append")
        media_type = _media_type(request)
        body = await read_body(request, _MOST[media_type], self._limits.body)
        began = perf_counter()
        if len(body) < _WORTH_A_THREAD:
            batch = self._prepared(key.instance, media_type, body)
        else:
            batch = await asyncio.to_thread(self._prepared, key.instance, media_type, body)
        answer = await self._committed(batch)
        appended = _accepted(answer, media_type)
        self._metrics.count_events(appended, perf_counter() - began)
        return _response(appended)

    def _prepared(self, instance: str, media_type: str, body: bytes) -> Batch:
        return self._intake.prepare(instance, READERS[media_type](body))

    async def _committed(self, batch: Batch) -> BatchAnswer:
        try:
            async with asyncio.timeout(self._limits.commit):
                return await self._intake.commit(batch)
        except TimeoutError:
            raise Refused(
                LOG_UNAVAILABLE,
                "The commit takes too long; whether it happens is not known yet.",
                headers={"Retry-After": "5"},
            ) from None


def _media_type(request: Request) -> str:
    given = request.headers.get("content-type", "")
    media_type, *parameters = given.split(";")
    media_type = media_type.strip().lower()
    if media_type in READERS and all(map(UTF8.fullmatch, parameters)):
        return media_type
    raise Refused(
        UNSUPPORTED_MEDIA_TYPE,
        f"The content type must be {SINGLE} or {BATCH}, in UTF-8, not {given[:100] or 'absent'}.",
        headers={"Accept-Post": f"{SINGLE}, {BATCH}"},
    )


def _accepted(answer: BatchAnswer, media_type: str) -> Sequence[Appended]:
    """Raises Refused when nothing was stored."""
    match answer:
        case OtherBody(index, event_id):
            raise Refused(
                EVENT_CHANGED,
                f"The event {event_id!r} was appended before with another body.",
                [Fault(f"{_place(index, media_type)}/id", "was used before, for another body")],
            )
        case VersionConflict():
            raise _conflict(answer, media_type)
        case tuple():
            return answer
        case _:
            assert_never(answer)


def _conflict(conflict: VersionConflict, media_type: str) -> Refused:
    expected, current = conflict.expected, conflict.current
    return Refused(
        VERSION_CONFLICT,
        f"{conflict.subject} is at version {current}, not {expected}.",
        [
            Fault(
                f"{_place(conflict.index, media_type)}/{EXPECTED_VERSION}",
                f"the current version is {current}",
            )
        ],
        members={"current_version": current, "expected_version": expected, "subject": conflict.subject},
    )


def _place(index: int, media_type: str) -> str:
    return f"/{index}" if media_type == BATCH else ""


def _response(appended: Sequence[Appended]) -> Response:
    items = [AppendedEvent(event.id, str(event.position), event.duplicate) for event in appended]
    all_known = all(event.duplicate for event in appended)
    return json_response(AppendedEvents(items), 200 if all_known else 201)
