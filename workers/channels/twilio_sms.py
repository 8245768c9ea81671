"""The text message channel: Twilio's messages resource, through Twilio's client over our own HTTP session.

With a Verify service it also has Twilio make, send and check codes of its own.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import aiohttp
import msgspec
from twilio.base.exceptions import TwilioRestException, TwilioServiceException
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from event_log.failpoints import failpoint
from notification_domain.outcomes import Deferred, Delivered, Outcome, Rejected, Unknown
from workers.channels.port import Mail, Message, PointOfNoReturn, TextMessage
from workers.channels.reply_text import reply_text
from workers.channels.twilio_outcomes import Stage, outcome_of_break, outcome_of_refusal, retry_after

LONGEST_ANSWER = 64 * 1024
KEEPALIVE = 2.0
"""Seconds; below what servers keep (5 s is common), so that a request rarely meets a closing connection."""

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_SID = re.compile(r"[A-Za-z0-9]{1,64}")
_LOGGER = logging.getLogger("twilio")
# With an empty one the library would read the process's own environment.
_NO_ENVIRONMENT = {"TWILIO_EDGE": "", "TWILIO_REGION": ""}


class TwilioSettings(msgspec.Struct, frozen=True):
    """One Twilio account; the sender of our texts is a number or a messaging service."""

    account_sid: str
    auth_token: str
    sender_number: str
    messaging_service_sid: str = ""
    base_url: str = "https://api.twilio.com"
    timeout: float = 15.0
    """Seconds for the whole request."""
    status_callback: str = ""
    """Where Twilio tells how a message fares; the message's reference follows. Empty: nowhere."""
    connections: int = 10
    verify_service_sid: str = ""
    verify_url: str = "https://verify.twilio.com"

    def __repr__(self) -> str:
        return f"TwilioSettings(account_sid={self.account_sid!r}, base_url={self.base_url!r})"

    def fault(self, *, verification: bool) -> str | None:
        if not (self.account_sid and self.auth_token):
            return "the account has no SID or no token"
        if verification:
            return None if self.verify_service_sid else "the account has no Verify service"
        return None if self.sender_number or self.messaging_service_sid else "the account has no sender"


class TwilioChannel:
    """Delivers text messages through one Twilio account; implements the port ``Channel``."""

    def __init__(self, settings: TwilioSettings, *, provider: str) -> None:
        self.provider = provider
        self.at_once = settings.connections
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        _LOGGER.setLevel(logging.WARNING)  # at INFO the library writes headers

    async def deliver(self, message: Message, begin: PointOfNoReturn) -> Outcome | None:
        """As the port says; ``begin`` comes before connecting, and failing to connect is still deferred."""
        if isinstance(message, Mail):
            return Rejected("local", "a mail cannot travel by Twilio")
        if not _E164.fullmatch(message.recipient):
            return Rejected("local", "the recipient is not an E.164 number")
        fault = self._settings.fault(verification=message.verification)
        if fault is not None:
            return Deferred("config", fault, account_fault=True)
        return await self._create(message) if await begin() else None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _create(self, message: TextMessage) -> Outcome:
        exchange = _Exchange(self._open_session(), self._settings)
        try:
            client = _client(self._settings, exchange)
            if message.verification:
                made = client.verify.v2.services(self._settings.verify_service_sid).verifications
                created = await made.create_async(to=message.recipient, channel="sms")
            else:
                created = await client.messages.create_async(
                    to=message.recipient, body=message.body, **_options(self._settings, message.reference)
                )
            return _outcome_of_creation(created.sid)
        except (TwilioRestException, TwilioServiceException) as refusal:
            code = refusal.code if isinstance(refusal.code, int) else 0
            text = reply_text(f"{exchange.status} {refusal.code} {_refusal_words(refusal)}")
            return outcome_of_refusal(exchange.status, code, text, exchange.retry_after)
        except Exception as error:  # noqa: BLE001 - the edge: JSON, HTTP and socket errors, judged by the stage
            return outcome_of_break(exchange.stage, error)

    def _open_session(self) -> aiohttp.ClientSession:
        """One session, opened inside the running loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._settings.timeout),
                connector=aiohttp.TCPConnector(keepalive_timeout=KEEPALIVE),
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[_trace()],
            )
        return self._session


class _Exchange(AsyncHttpClient):  # type: ignore[misc]  # the library has no types
    """One request and its answer; ``stage`` tells how far it came."""

    def __init__(self, session: aiohttp.ClientSession, settings: TwilioSettings) -> None:
        super().__init__(_LOGGER, is_async=True, timeout=settings.timeout)
        self.stage: Stage = "connect"
        self.status = 0
        self.retry_after: float | None = None
        self._session = session
        self._base_url = settings.base_url.rstrip("/")
        self._verify_url = settings.verify_url.rstrip("/")

    async def request(  # noqa: PLR0913, PLR0917 - the library's own signature
        self,
        method: str,
        uri: str,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] = ("", ""),
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - the session has its own
        allow_redirects: bool = False,  # noqa: ARG002 - never
    ) -> Response:
        asked = urlsplit(uri)
        verifies = (asked.hostname or "").startswith("verify.")
        async with self._session.request(
            method,
            (self._verify_url if verifies else self._base_url) + asked.path,
            params=params,
            data=data,
            headers={**(headers or {}), "Authorization": aiohttp.encode_basic_auth(*auth)},
            allow_redirects=False,
            trace_request_ctx=self,
        ) as answer:
            self.stage, self.status = "reply", answer.status
            failpoint("twilio.answered")
            self.retry_after = retry_after(answer.headers)
            return Response(answer.status, await _answer_text(answer), answer.headers)


def _trace() -> aiohttp.TraceConfig:
    """From the moment there is a connection the request counts as written."""
    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(_note_connection)
    trace.on_connection_reuseconn.append(_note_connection)
    return trace


async def _note_connection(_session: object, context: object, _event: object) -> None:
    exchange = getattr(context, "trace_request_ctx", None)
    assert isinstance(exchange, _Exchange)
    exchange.stage = "request"
    failpoint("twilio.connected")


async def _answer_text(answer: aiohttp.ClientResponse) -> str:
    """At most 64 KiB, and only what came: the status line alone already decides outside 2xx."""
    octets = bytearray()
    try:
        async for chunk in answer.content.iter_any():
            octets += chunk
            if len(octets) > LONGEST_ANSWER:
                break
    except (aiohttp.ClientError, TimeoutError):
        pass
    return octets[:LONGEST_ANSWER].decode(errors="replace")


def _client(settings: TwilioSettings, exchange: _Exchange) -> Client:
    return Client(
        settings.account_sid, settings.auth_token, http_client=exchange, environment=_NO_ENVIRONMENT
    )


def _options(settings: TwilioSettings, reference: str) -> dict[str, str]:
    """The optional parameters of the create call that are set."""
    parameters = {
        "from_": settings.sender_number,
        "messaging_service_sid": settings.messaging_service_sid,
        "status_callback": settings.status_callback + reference
        if settings.status_callback and reference
        else "",
    }
    return {name: value for name, value in parameters.items() if value}


def _outcome_of_creation(sid: object) -> Delivered | Unknown:
    if isinstance(sid, str) and _SID.fullmatch(sid):
        return Delivered(provider_message_id=sid)
    return Unknown("reply", "the answer names no message")


def _refusal_words(refusal: TwilioRestException | TwilioServiceException) -> str:
    """Never ``str(refusal)``: on a terminal that is coloured and several lines long."""
    if isinstance(refusal, TwilioServiceException):
        return f"{refusal.title}: {refusal.detail or ''}"
    return str(refusal.msg)
