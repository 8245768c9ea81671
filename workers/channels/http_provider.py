"""The text message channel through an HTTP endpoint of the operator's own: one signed POST a message."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any

import aiohttp
import msgspec

from notification_domain.outcomes import Deferred, Delivered, Outcome, Rejected, Unknown
from workers.channels.address_guard import ForbiddenAddress, Guard, Network
from workers.channels.port import Mail, Message, PointOfNoReturn, TextMessage
from workers.channels.reply_text import error_text, reply_text
from workers.channels.twilio_outcomes import retry_after

LONGEST_ANSWER = 64 * 1024
SIGNATURE = "ZITADEL-Signature"

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_ACCOUNT_REFUSED = frozenset({401, 403})
_TRY_AGAIN = frozenset({408, 425, 429})
_SHOWN = 300


class HttpProviderSettings(msgspec.Struct, frozen=True):
    endpoint: str
    signing_keys: tuple[str, ...]
    """The newest first; each gives a signature of its own."""
    provider_id: str
    description: str = ""
    own_networks: tuple[Network, ...] = ()
    """Where requests may go though the addresses are not public."""
    timeout: float = 15.0
    """Seconds for the whole request."""
    connections: int = 10

    def __repr__(self) -> str:
        return f"HttpProviderSettings(endpoint={self.endpoint!r}, provider_id={self.provider_id!r})"


class HttpProviderChannel:
    """Implements the port ``Channel``."""

    def __init__(self, settings: HttpProviderSettings, clock: Callable[[], datetime]) -> None:
        self.provider = settings.provider_id
        self.at_once = settings.connections
        self._settings = settings
        self._clock = clock
        self._guard = Guard(settings.own_networks)
        self._session: aiohttp.ClientSession | None = None

    async def deliver(self, message: Message, begin: PointOfNoReturn) -> Outcome | None:
        """As the port says; ``begin`` comes before connecting, and failing to connect is still deferred."""
        if isinstance(message, Mail) or message.verification:
            return Rejected("local", "only texts of our own travel this way")
        if not _E164.fullmatch(message.recipient):
            return Rejected("local", "the recipient is not an E.164 number")
        fault = self._guard.fault(self._settings.endpoint)
        if fault is not None:
            return Deferred("config", fault, account_fault=True)
        return await self._post(request_body(message, self._settings), message) if await begin() else None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _post(self, body: bytes, message: TextMessage) -> Outcome:
        written = _Written()
        try:
            async with self._open_session().post(
                self._settings.endpoint,
                data=body,
                headers=self._headers(body, message),
                allow_redirects=False,
                trace_request_ctx=written,
            ) as answer:
                return outcome_of(answer.status, await _text(answer), retry_after(answer.headers))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _outcome_of_break(error, connected=written.connected)

    def _headers(self, body: bytes, message: TextMessage) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "Webhook-Id": message.context.message_id,
            SIGNATURE: signature(self._settings.signing_keys, int(self._clock().timestamp()), body),
        }

    def _open_session(self) -> aiohttp.ClientSession:
        """One session, opened inside the running loop."""
        if self._session is None:
            given = self._settings
            self._session = self._guard.session(
                given.endpoint, timeout=given.timeout, limit=given.connections, traces=[_trace()]
            )
        return self._session


def request_body(message: TextMessage, settings: HttpProviderSettings) -> bytes:
    document: dict[str, Any] = {
        "contextInfo": {
            "eventType": message.context.event_type,
            "provider": {"id": settings.provider_id, "description": settings.description},
            "recipientPhoneNumber": message.recipient,
        },
        "templateData": {"text": message.body},
        "args": {_lower_first(name): value for name, value in message.context.arguments.items()},
    }
    return msgspec.json.encode(document)


def signature(keys: Sequence[str], timestamp: int, body: bytes) -> str:
    """``t=…,v1=…``: HMAC-SHA256 in hexadecimal over the time, a dot and the body, once a key."""
    signed = b"%d.%b" % (timestamp, body)
    marks = [f"v1={hmac.digest(key.encode(), signed, 'sha256').hex()}" for key in keys]
    return ",".join([f"t={timestamp}", *marks])


def outcome_of(status: int, text: str, wait: float | None) -> Outcome:
    """The outcome of an answer by its status; a redirect took no message and is never followed."""
    said = reply_text(f"{status} {text[:_SHOWN]}")
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Delivered(reply=said)
    if status in _ACCOUNT_REFUSED:
        return Deferred("reply", said, account_fault=True)
    if status in _TRY_AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Deferred("reply", said, retry_after=wait)
    if status >= HTTPStatus.BAD_REQUEST:
        return Rejected("reply", said)
    return Deferred("reply", said)


def _outcome_of_break(error: Exception, *, connected: bool) -> Outcome:
    if connected:
        return Unknown("request", error_text(error))
    forbidden = isinstance(getattr(error, "os_error", error), ForbiddenAddress)
    return Deferred("connect", error_text(error), account_fault=forbidden)


async def _text(answer: aiohttp.ClientResponse) -> str:
    """At most 64 KiB, and only what came: the status line alone already decides."""
    octets = bytearray()
    try:
        async for chunk in answer.content.iter_any():
            octets += chunk
            if len(octets) >= LONGEST_ANSWER:
                answer.close()
                break
    except (aiohttp.ClientError, OSError):
        answer.close()
    return octets[:LONGEST_ANSWER].decode(errors="replace")


class _Written:
    """Whether there was a connection: from then on the request counts as written."""

    connected = False


def _trace() -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(_note_connection)
    trace.on_connection_reuseconn.append(_note_connection)
    return trace


async def _note_connection(_session: object, context: object, _event: object) -> None:
    written = getattr(context, "trace_request_ctx", None)
    assert isinstance(written, _Written)
    written.connected = True


def _lower_first(name: str) -> str:
    return name[:1].lower() + name[1:]
