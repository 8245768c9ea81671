"""Tells whoever asked for it how a text message fares, signed the way Twilio signs."""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
from collections.abc import Mapping
from http import HTTPStatus

import aiohttp

from tidings.sandbox.entries import TextEntry
from tidings.sandbox.twilio_resources import API_VERSION, error_at, steps

_log = logging.getLogger(__name__)
_PATIENCE = aiohttp.ClientTimeout(total=10)
_TRIES = 4
_FIRST_PAUSE = 0.25
"""Seconds; twice as long before each further try."""


def signature(url: str, form: Mapping[str, str], token: str) -> str:
    """``X-Twilio-Signature``: HMAC-SHA1 over the URL and the sorted fields, in base64."""
    signed = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.digest(token.encode(), signed.encode(), "sha1")).decode()


class StatusCallbacks:
    """Best effort: a callback that meets nobody, or a server in trouble, is repeated a few times."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def promise(self, entry: TextEntry, url: str, token: str) -> None:
        task = asyncio.create_task(_report(entry, url, token))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _report(entry: TextEntry, url: str, token: str) -> None:
    since_arrival = 0.0
    async with aiohttp.ClientSession(timeout=_PATIENCE) as session:
        for status, after in steps(entry):
            await asyncio.sleep(after.total_seconds() - since_arrival)
            since_arrival = after.total_seconds()
            await _tell(session, url, _form(entry, status), token)


def _form(entry: TextEntry, status: str) -> dict[str, str]:
    form = {
        "AccountSid": entry.account,
        "ApiVersion": API_VERSION,
        "MessageSid": entry.id,
        "MessageStatus": status,
        "SmsSid": entry.id,
        "SmsStatus": status,
        "To": entry.to[0],
    }
    code = error_at(entry, status)
    return (
        form | ({"From": entry.sender} if entry.sender else {}) | ({"ErrorCode": str(code)} if code else {})
    )


async def _tell(session: aiohttp.ClientSession, url: str, form: Mapping[str, str], token: str) -> None:
    pause = _FIRST_PAUSE
    for left in reversed(range(_TRIES)):
        failure = await _call(session, url, form, token)
        if not failure:
            return
        # Not the address: it is for the two of us.
        _log.info("a status callback for %s failed, %s tries left: %s", form["MessageSid"], left, failure)
        if left:
            await asyncio.sleep(pause)
            pause *= 2


async def _call(session: aiohttp.ClientSession, url: str, form: Mapping[str, str], token: str) -> str:
    """Empty when it was answered; a refusal is an answer too."""
    headers = {"X-Twilio-Signature": signature(url, form, token)}
    try:
        async with session.post(url, data=form, headers=headers, allow_redirects=False) as answer:
            return str(answer.status) if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR else ""
    except (aiohttp.ClientError, TimeoutError) as error:
        return type(error).__name__
