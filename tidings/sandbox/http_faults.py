"""How an HTTP endpoint misbehaves when it was asked to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import assert_never

import msgspec
from aiohttp import web

from tidings.sandbox.faults import Fault

_FOR_EVER = 86_400.0


class Misbehaviour(msgspec.Struct, frozen=True):
    """How one endpoint words what a fault asks for."""

    refusal: Callable[[Fault], web.Response]
    garbage: Callable[[web.Request], web.Response]


async def suffer(fault: Fault | None, request: web.Request, how: Misbehaviour) -> web.Response | None:
    """The answer that the fault asks for, or None when the request may go on."""
    if fault is None:
        return None
    match fault.action:
        case "refuse":
            return _with_retry_after(how.refusal(fault), fault)
        case "garbage":
            return how.garbage(request)
        case "delay":
            await asyncio.sleep(fault.seconds or 0)
            return None
        case "hang":
            # A client that leaves cancels this.
            await asyncio.sleep(_FOR_EVER if fault.seconds is None else fault.seconds)
            return _cut(request)
        case "disconnect":
            return _cut(request)
        case other:
            assert_never(other)


def babble(request: web.Request) -> web.Response:
    """Answer with what is no HTTP, then drop the connection."""
    if request.transport is not None:
        request.transport.write(b"\x00?! no such protocol\r\n\r\n")
        request.transport.close()
    return web.Response()


def _with_retry_after(answer: web.Response, fault: Fault) -> web.Response:
    if fault.retry_after is not None:
        answer.headers["Retry-After"] = str(fault.retry_after)
    return answer


def _cut(request: web.Request) -> web.Response:
    """Drop the connection; the response returned has nowhere to go."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
