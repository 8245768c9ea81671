"""JSON answers and problem documents (RFC 9457) of the sandbox's own API."""

from __future__ import annotations

import logging
from http import HTTPStatus

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from tidings.sandbox.errors import BadField

PROBLEM = "application/problem+json"

_log = logging.getLogger(__name__)


def json_answer(body: object, status: int = HTTPStatus.OK) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


def problem_body(status: int, detail: str, **more: object) -> bytes:
    title = HTTPStatus(status).phrase
    return msgspec.json.encode(
        {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    )


def problem(status: int, detail: str, **more: object) -> web.Response:
    return web.Response(body=problem_body(status, detail, **more), status=status, content_type=PROBLEM)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong below becomes a problem document."""
    try:
        return await handler(request)
    except BadField as complaint:
        return _bad_field(complaint)
    except web.HTTPException as error:
        return _http_problem(request, error)
    except OSError:
        _log.exception("the sandbox cannot read or write its ledger")
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "the ledger cannot be read or written")


def _bad_field(complaint: BadField) -> web.Response:
    error = {"pointer": complaint.pointer, "detail": complaint.detail, "allowed": complaint.allowed}
    return problem(HTTPStatus.BAD_REQUEST, complaint.detail, errors=[error])


def _http_problem(request: web.Request, error: web.HTTPException) -> web.Response:
    answer = problem(error.status, f"{error.reason}: {request.method} {request.path}")
    if "Allow" in error.headers:
        answer.headers["Allow"] = error.headers["Allow"]
    return answer
