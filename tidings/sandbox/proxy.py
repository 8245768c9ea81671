"""Brings the sandbox's pages to the public port: small ASGI applications to mount at ``/sandbox``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from http import HTTPStatus
from urllib.parse import quote

import aiohttp
from multidict import CIMultiDict
from starlette.types import Receive, Scope, Send
from yarl import URL

from tidings.sandbox.answers import PROBLEM, problem_body

PREFIX = "/sandbox"
# Hop by hop (RFC 9110, section 7.6.1), set anew by the client, or none of the sandbox's business.
_KEPT_BACK = frozenset(
    {
        "authorization", "connection", "cookie", "host", "keep-alive", "proxy-authenticate",
        "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_CHUNK = 1 << 16
_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=5, sock_read=60)


class SandboxProxy:
    """Forwards to the sandbox process; whoever mounts it awaits ``close`` at the end."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            answer = await self._ask(scope, receive)
        except (aiohttp.ClientError, TimeoutError):
            await _send_problem(send, HTTPStatus.BAD_GATEWAY, "the sandbox does not answer")
            return
        async with answer:
            await _pass_on(answer, send)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(self, scope: Scope, receive: Receive) -> aiohttp.ClientResponse:
        headers = _forwarded(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
        )
        return await self._open_session().request(
            scope["method"],
            self._target(scope),
            headers=headers,
            data=_body(receive) if _has_body(scope) else None,
            allow_redirects=False,
        )

    def _target(self, scope: Scope) -> URL:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        query = scope["query_string"].decode("latin-1")
        return URL(f"{self._base_url}{PREFIX}{quote(path)}{'?' + query if query else ''}", encoded=True)

    def _open_session(self) -> aiohttp.ClientSession:
        """Made late, because it belongs to the loop that runs."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=_TIMEOUT,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        return self._session


def sandbox_proxy(base_url: str) -> SandboxProxy:
    """``base_url`` such as ``http://127.0.0.1:41234``."""
    return SandboxProxy(base_url)


async def sandbox_disabled(scope: Scope, _receive: Receive, send: Send) -> None:
    """Stands where the sandbox would be when real providers are configured."""
    if scope["type"] == "http":
        await _send_problem(send, HTTPStatus.NOT_FOUND, "the sandbox is off: real providers are configured")


def _has_body(scope: Scope) -> bool:
    return any(name in {b"content-length", b"transfer-encoding"} for name, _ in scope["headers"])


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        yield message.get("body", b"")
        more = message.get("more_body", False)


def _forwarded(headers: Iterable[tuple[str, str]]) -> CIMultiDict[str]:
    given = CIMultiDict(headers)
    named = {name.strip().lower() for value in given.getall("Connection", []) for name in value.split(",")}
    kept_back = _KEPT_BACK | named
    return CIMultiDict((name, value) for name, value in given.items() if name.lower() not in kept_back)


async def _pass_on(answer: aiohttp.ClientResponse, send: Send) -> None:
    await _start(send, answer.status, _forwarded(answer.headers.items()))
    async for chunk in answer.content.iter_chunked(_CHUNK):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _send_problem(send: Send, status: int, detail: str) -> None:
    await _start(send, status, {"Content-Type": PROBLEM})
    await send({"type": "http.response.body", "body": problem_body(status, detail)})


async def _start(send: Send, status: int, headers: Mapping[str, str]) -> None:
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
