"""Tells whoever asked for it how a text message fares, signed the way Twilio signs."""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
from collections.abc import Mapping

import aiohttp

from tidings.sandbox.entries import TextEntry
from tidings.sandbox.twilio_resources import API_VERSION, STEPS

_log = logging.getLogger(__name__)
_PATIENCE = aiohttp.ClientTimeout(total=10)


def signature(url: str, form: Mapping[str, str], token: str) -> str:
    """``X-Twilio-Signature``: HMAC-SHA1 over the URL and the sorted fields, in base64."""
    signed = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.digest(token.encode(), signed.encode(), "sha1")).decode()


class StatusCallbacks:
    """Best effort, as with the real one: a callback that fails is not repeated."""

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
        for status, after in STEPS:
            await asyncio.sleep(after.total_seconds() - since_arrival)
            since_arrival = after.total_seconds()
            await _call(session, url, _form(entry, status), token)


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
    return form | ({"From": entry.sender} if entry.sender else {})


async def _call(session: aiohttp.ClientSession, url: str, form: Mapping[str, str], token: str) -> None:
    headers = {"X-Twilio-Signature": signature(url, form, token)}
    try:
        async with session.post(url, data=form, headers=headers, allow_redirects=False):
            pass
    except (aiohttp.ClientError, TimeoutError) as error:
        _log.info("a status callback to %s failed: %r", url, error)
