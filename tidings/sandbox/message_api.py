"""What arrived, as JSON: ``/sandbox/messages`` and ``/sandbox/ledger``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from http import HTTPStatus
from zlib import crc32

from aiohttp import web

from tidings.sandbox.answers import problem
from tidings.sandbox.entries import Entry, MailEntry
from tidings.sandbox.items import encode_items
from tidings.sandbox.ledger import Ledger
from tidings.sandbox.message_index import Place
from tidings.sandbox.queries import read_listing

_CHUNK = 50
"""Messages read at a time, so that a long listing stays small in memory."""


class MessageApi:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/sandbox/messages", self.search),
            web.delete("/sandbox/messages", self.empty),
            web.get("/sandbox/messages/{id}", self.show),
            web.get("/sandbox/messages/{id}/raw", self.raw),
            web.get("/sandbox/ledger", self.ledger),
        ]

    async def search(self, request: web.Request) -> web.StreamResponse:
        listing = read_listing(request.query)
        tag = self._tag(request)
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
        places = self._ledger.index.select(listing.selection)
        answer = _streamed("application/json")
        answer.headers["ETag"] = tag
        await answer.prepare(request)
        await answer.write(b'{"count":%d,"items":[' % len(places))
        async for items in self._encoded(places[: listing.limit], summary=listing.summary):
            await answer.write(items)
        await answer.write(b"]}")
        return answer

    async def show(self, request: web.Request) -> web.StreamResponse:
        entries = self._find(request)
        if not entries:
            return _not_found(request)
        return web.Response(body=encode_items(entries, summary=False)[0], content_type="application/json")

    async def raw(self, request: web.Request) -> web.StreamResponse:
        """The mail as it came over the wire, never as something a browser would run."""
        for entry in self._find(request):
            if isinstance(entry, MailEntry):
                return web.Response(body=entry.content, content_type="text/plain", charset="utf-8")
        return _not_found(request)

    async def empty(self, _request: web.Request) -> web.StreamResponse:
        self._ledger.empty()
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def ledger(self, request: web.Request) -> web.StreamResponse:
        answer = _streamed("application/x-ndjson")
        await answer.prepare(request)
        for chunk in self._ledger.raw():
            await answer.write(chunk)
        return answer

    def _tag(self, request: web.Request) -> str:
        """Changes when the answer to this very query may have changed."""
        index = self._ledger.index
        return f'"{index.newest_id()}-{len(index)}-{crc32(request.query_string.encode())}"'

    async def _encoded(self, places: Sequence[Place], *, summary: bool) -> AsyncIterator[bytes]:
        """Runs of items, each but the first beginning with its comma."""
        comma = b""
        for start in range(0, len(places), _CHUNK):
            entries = self._ledger.read(places[start : start + _CHUNK])
            # Off the loop, or mail would wait for whoever lists it.
            items = await asyncio.to_thread(encode_items, entries, summary=summary)
            if items:
                yield comma + b",".join(items)
                comma = b","

    def _find(self, request: web.Request) -> Sequence[Entry]:
        place = self._ledger.index.get(request.match_info["id"])
        return self._ledger.read([place] if place else [])


def _streamed(content_type: str) -> web.StreamResponse:
    return web.StreamResponse(headers={"Content-Type": content_type, "Cache-Control": "no-store"})


def _not_found(request: web.Request) -> web.Response:
    return problem(HTTPStatus.NOT_FOUND, f"there is no message {request.match_info['id']!r}")
