"""The page at ``/sandbox``: three files of the package, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from aiohttp import web

_TYPES: Mapping[str, str] = {
    "sandbox.css": "text/css",
    "sandbox.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
# A previewed mail inherits this policy: its own inline styles may work, its scripts and remote pictures not.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def page_routes() -> list[web.RouteDef]:
    return [
        web.get("/sandbox", _page),
        web.get("/sandbox/", _page),
        web.get("/sandbox/static/{name}", _static),
    ]


async def _page(_request: web.Request) -> web.StreamResponse:
    return _file("sandbox.html", "text/html")


async def _static(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    if name not in _TYPES:
        raise web.HTTPNotFound
    return _file(name, _TYPES[name])


def _file(name: str, content_type: str) -> web.Response:
    text = files("tidings.sandbox").joinpath("static", name).read_text("utf-8")
    return web.Response(text=text, content_type=content_type, headers=_HEADERS)
