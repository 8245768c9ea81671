"""The outermost layer: every request is counted, and whatever goes wrong inside becomes a problem."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from time import perf_counter

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import Metrics
from api.problems import (
    INTERNAL_ERROR,
    INVALID_PARAMETER,
    LOG_UNAVAILABLE,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    NOT_READY,
    OVERLOADED,
    Kind,
    Refused,
    response,
)
from event_log.errors import DatabaseUnusable, EventLogError, LogUnavailable, Overloaded

_logger = logging.getLogger(__name__)

_SOON = {"Retry-After": "1"}
_BY_STATUS: dict[int, Kind] = {404: NOT_FOUND, 405: METHOD_NOT_ALLOWED}
_FROM_THE_LOG: tuple[tuple[type[EventLogError], Kind, str], ...] = (
    (Overloaded, OVERLOADED, "Too many appends are waiting for their turn; nothing was stored."),
    (LogUnavailable, LOG_UNAVAILABLE, "The log cannot be reached at the moment."),
    (DatabaseUnusable, NOT_READY, "The database is not as it must be; the log of this process says how."),
)


class Boundary:
    """An ASGI middleware. ``routes`` names endpoints by their path templates, for counting."""

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: Mapping[object, str]) -> None:
        self._app = app
        self._metrics = metrics
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        status = 0

        async def noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting_status)
        except Exception:
            _logger.exception("%s %s failed", scope["method"], scope["path"])
            if status:
                raise  # half an answer is out; only breaking the connection says so
            failed = Refused(INTERNAL_ERROR, "The request could not be answered; the fault is logged.")
            await response(failed)(scope, receive, noting_status)
        finally:
            route = self._routes.get(scope.get("endpoint"), "unmatched")
            self._metrics.count_request(scope["method"], route, status, perf_counter() - began)


async def answer_refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return response(error)


async def answer_http_error(request: Request, error: Exception) -> Response:
    """What the router itself refuses: 404 and 405."""
    assert isinstance(error, HTTPException)
    kind = _BY_STATUS.get(error.status_code, INVALID_PARAMETER)
    detail = {
        404: f"There is nothing at {request.url.path[:200]}.",
        405: f"{request.method[:20]} does not apply here.",
    }.get(error.status_code, str(error.detail))
    return response(Refused(kind, detail, headers=error.headers))


async def answer_log_error(_: Request, error: Exception) -> Response:
    for sort, kind, detail in _FROM_THE_LOG:
        if isinstance(error, sort):
            _logger.warning("%s: %s", kind.name, error)
            return response(Refused(kind, detail, headers=_SOON))
    raise error
