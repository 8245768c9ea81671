"""Reads a request's body within a size and a time."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from api.problems import MALFORMED, TOO_LARGE, TOO_SLOW, UNSUPPORTED_MEDIA_TYPE, Refused

_HANG_UP = {"Connection": "close"}
"""The rest of the body is not worth reading."""


async def read_body(request: Request, most: int, seconds: float) -> bytes:
    """At most ``most`` bytes. Raises Refused with 400, 408, 413 or 415."""
    _check_head(request, most)
    try:
        async with asyncio.timeout(seconds):
            return await _collected(request, most)
    except TimeoutError:
        raise Refused(
            TOO_SLOW, f"The body was not complete after {seconds:g} seconds.", headers=_HANG_UP
        ) from None
    except ClientDisconnect:
        raise Refused(MALFORMED, "The body ended early.") from None


def _check_head(request: Request, most: int) -> None:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise Refused(UNSUPPORTED_MEDIA_TYPE, f"The content encoding {encoding[:40]!r} is not taken.")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > most:
        raise _too_large(most, int(length[:20]))


async def _collected(request: Request, most: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise _too_large(most, size)
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(limit: int, actual: int) -> Refused:
    return Refused(
        TOO_LARGE,
        f"The body holds {actual} bytes or more. The limit is {limit}.",
        members={"limit": limit, "actual": actual},
        headers=_HANG_UP,
    )
