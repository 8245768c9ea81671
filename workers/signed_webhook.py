"""A receiver of signed webhooks, after the Standard Webhooks specification: one POST a message."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Sequence
from datetime import datetime
from http import HTTPStatus

import aiohttp
import msgspec

from workers.channels.address_guard import Guard, Network
from workers.channels.reply_text import error_text
from workers.channels.twilio_outcomes import retry_after


class ReceiverSettings(msgspec.Struct, frozen=True):
    url: str
    signing_keys: tuple[bytes, ...]
    """The newest first; each gives a signature of its own."""
    own_networks: tuple[Network, ...] = ()
    """Where requests may go though the addresses are not public."""
    timeout: float = 15.0
    """Seconds for the whole request."""

    def __repr__(self) -> str:
        return f"ReceiverSettings(url={self.url!r})"


class Refusal(msgspec.Struct, frozen=True):
    """The receiver has not said that it took the message; ``error`` quotes nothing of its own."""

    error: str
    retry_after: float = 0.0
    """Seconds it asked us to wait."""


class Receiver:
    def __init__(self, settings: ReceiverSettings, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._clock = clock
        self._guard = Guard(settings.own_networks)
        self._session: aiohttp.ClientSession | None = None

    def fault(self) -> str | None:
        """What is wrong with the address as it is written; None when nothing is."""
        return self._guard.fault(self._settings.url)

    async def post(self, message_id: str, body: bytes) -> Refusal | None:
        """None when it was taken: any 2xx. A redirect is never followed, and no answer's body is read."""
        fault = self.fault()
        if fault is not None:
            return Refusal(fault)
        headers = headers_for(self._settings.signing_keys, message_id, int(self._clock().timestamp()), body)
        try:
            async with self._open_session().post(
                self._settings.url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                return _refusal(answer)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Refusal(_of_break(error))

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        """One session, opened inside the running loop."""
        if self._session is None:
            given = self._settings
            self._session = self._guard.session(given.url, timeout=given.timeout, limit=1)
        return self._session


def headers_for(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    return {
        "Content-Type": "application/cloudevents+json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(key, message_id, timestamp, body) for key in keys),
    }


def signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """``v1,`` and the HMAC-SHA256 in Base64 over id, time and body, with dots between."""
    signed = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    return f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}"


def _of_break(error: Exception) -> str:
    """Where a connection failed; of an answer that is none only that, since its text is the receiver's."""
    return error_text(error) if isinstance(error, OSError) else type(error).__name__


def _refusal(answer: aiohttp.ClientResponse) -> Refusal | None:
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    return Refusal(f"status {answer.status}", retry_after(answer.headers) or 0.0)
