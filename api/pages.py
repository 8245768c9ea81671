"""The pages people read in a browser; everything they load comes from here."""

from __future__ import annotations

from importlib.resources import files

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from api.problems import KINDS, NOT_FOUND, Refused

_FILES = files("api") / "static"
_POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'"
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_TYPES = {
    "console.html": "text/html",
    "docs.html": "text/html",
    "pages.css": "text/css",
    "docs.js": "text/javascript",
    "console.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


async def console(_: Request) -> Response:
    return _file("console.html")


async def docs(_: Request) -> Response:
    return _file("docs.html")


async def static_file(request: Request) -> Response:
    return _file(request.path_params["name"])


async def problem_page(request: Request) -> Response:
    """What the ``type`` of a problem leads to."""
    kind = KINDS.get(request.path_params["name"])
    if kind is None:
        raise Refused(NOT_FOUND, "There is no such problem.")
    return PlainTextResponse(f"{kind.status} {kind.title}\n\n{kind.meaning}\n")


def _file(name: str) -> Response:
    media_type = _TYPES.get(name)
    if media_type is None:
        raise Refused(NOT_FOUND, "There is no such file.")
    return Response((_FILES / name).read_bytes(), headers=_HEADERS, media_type=media_type)
