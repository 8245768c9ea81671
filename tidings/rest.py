"""A client of Tidings' own REST API, for the command line and the demo."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from tidings.errors import NotFound, Refused, Unreachable

BATCH = "application/cloudevents-batch+json"
PATIENCE = 60.0
"""Seconds that a request is tried again for, while the service is away or asks for patience."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_TIMEOUT = aiohttp.ClientTimeout(total=60, connect=5)
_LATER = (429, 502, 503, 504)
_NOT_FOUND = 404


class Later(Exception):
    """Worth another try, after ``pause`` seconds if the service named a time."""

    def __init__(self, reason: Refused | Unreachable, pause: float | None) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.pause = pause


class Service:
    """One session with the service at ``url``; an asynchronous context."""

    def __init__(self, url: str, key: str = "", *, patience: float = PATIENCE) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._patience = patience

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=_TIMEOUT)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Raises NotFound, Refused or Unreachable at once."""
        try:
            return await self._ask("GET", path, params=dict(query or {}))
        except Later as later:
            raise later.reason from None

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Raises NotFound, Refused or Unreachable at once; whether it was done is unknown with the last."""
        try:
            return await self._ask("POST", path, json=dict(body))
        except Later as later:
            raise later.reason from None

    async def change(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Any other method; raises NotFound, Refused or Unreachable at once."""
        try:
            return await self._ask(method, path, json=None if body is None else dict(body))
        except Later as later:
            raise later.reason from None

    async def append(self, events: bytes) -> dict[str, Any]:
        """Append a batch, with patience: the same events are never stored twice."""
        headers = {"Content-Type": BATCH}
        deadline = _now() + self._patience
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self._ask("POST", "/v1/events", data=events, headers=headers)
            except Later as later:
                wait = pause if later.pause is None else later.pause
                if _now() + wait > deadline:
                    raise later.reason from None
            await asyncio.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - aiohttp's own
        try:
            async with self._session.request(method, self.url + path, **request) as answer:
                return _read(answer.status, answer.headers, await answer.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise Later(Unreachable(f"{self.url} does not answer: {reason}"), None) from None
        except ValueError as error:
            raise Unreachable(f"{self.url} is no address of a service: {error}") from None


def _read(status: int, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    document = _document(body)
    if status < 400:  # noqa: PLR2004 - where errors begin in HTTP
        return document
    refused = Refused(status, document)
    if status in _LATER:
        raise Later(refused, _seconds(headers.get("Retry-After", "")))
    raise NotFound(str(refused)) if status == _NOT_FOUND else refused


def _document(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _seconds(text: str) -> float | None:
    return float(text) if text.isdigit() else None


def _now() -> float:
    return asyncio.get_running_loop().time()
