"""``/v1/providers/sms``: the accounts text messages of an instance leave through. No token is ever shown."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.answers import NewSmsProvider, ProviderPause, SmsProvider, SmsProviders, json_response
from api.authentication import Authentication
from api.command_body import read_object
from api.dependencies import ApiDependencies
from api.problems import (
    INVALID_COMMAND,
    NOT_FOUND,
    PROVIDER_EXISTS,
    PROVIDER_INCOMPLETE,
    UNKNOWN_PARAMETER,
    Refused,
)
from api.provider_body import HTTP_PARTS, TWILIO_PARTS, check_change, check_new, check_token
from event_log.api_keys import ApiKey
from event_log.provider_commands import Overview, carry_out, overview
from notification_domain import provider_events as e
from notification_domain.provider_events import ProviderFact
from notification_domain.providers import (
    Http,
    Incomplete,
    NoSuchProvider,
    Provider,
    ProviderExists,
    Refusal,
    Twilio,
    missing,
)

_SCOPE = "admin"
_KEY_BYTES = 27
"""36 characters of base64."""


class ProviderPages:
    def __init__(self, dependencies: ApiDependencies, authentication: Authentication) -> None:
        self._log = dependencies.log
        self._patience = dependencies.limits.body
        self._authentication = authentication

    async def list_providers(self, request: Request) -> Response:
        key = await self._authentication.key(request, _SCOPE)
        if request.query_params:
            raise Refused(UNKNOWN_PARAMETER, "This takes no parameters.")
        return await self._all(key)

    async def add(self, request: Request) -> Response:
        key = await self._authentication.key(request, _SCOPE)
        members = await read_object(request, self._patience)
        check_new(members)
        kind = members.pop("kind")
        members.setdefault("id", self._log.chance(9).hex())
        signing_key = "" if kind == "twilio" else self._new_key()
        wish: ProviderFact = (
            e.TwilioAdded(**members) if kind == "twilio" else e.HttpAdded(**members, signing_key=signing_key)
        )
        return await self._done(key, wish, status=201, signing_key=signing_key)

    async def change(self, request: Request) -> Response:
        key = await self._authentication.key(request, _SCOPE)
        members = await read_object(request, self._patience)
        provider = await self._provider(key, request)
        parts = TWILIO_PARTS if isinstance(provider.account, Twilio) else HTTP_PARTS
        check_change(members, "description", *parts)
        fact = e.TwilioChanged if isinstance(provider.account, Twilio) else e.HttpChanged
        return await self._done(key, fact(id=provider.id, **members))

    async def token(self, request: Request) -> Response:
        """A Twilio account's new token, or a new signing key for an HTTP endpoint, which is made here."""
        key = await self._authentication.key(request, _SCOPE)
        members = await read_object(request, self._patience)
        provider = await self._provider(key, request)
        if isinstance(provider.account, Twilio):
            check_token(members)
            return await self._done(key, e.TwilioTokenChanged(id=provider.id, token=members["token"]))
        check_change(members)
        made = self._new_key()
        return await self._done(key, e.HttpChanged(id=provider.id, signing_key=made), signing_key=made)

    async def activate(self, request: Request) -> Response:
        key = await self._authentication.key(request, _SCOPE)
        return await self._done(key, e.ProviderActivated(id=_id(request)))

    async def deactivate(self, request: Request) -> Response:
        key = await self._authentication.key(request, _SCOPE)
        return await self._done(key, e.ProviderDeactivated(id=_id(request)))

    async def remove(self, request: Request) -> Response:
        key = await self._authentication.key(request, _SCOPE)
        await self._carry_out(key, e.ProviderRemoved(id=_id(request)))
        return await self._all(key)

    async def _all(self, key: ApiKey) -> Response:
        seen = await self._overview(key)
        items = [item(provider, seen) for provider in seen.providers.stored]
        return json_response(SmsProviders(items, seen.unreadable or None))

    async def _provider(self, key: ApiKey, request: Request) -> Provider:
        found = (await self._overview(key)).providers.named(_id(request))
        if found is None:
            raise _refused(NoSuchProvider(_id(request)))
        return found

    async def _done(
        self, key: ApiKey, wish: ProviderFact, *, status: int = 200, signing_key: str = ""
    ) -> Response:
        await self._carry_out(key, wish)
        seen = await self._overview(key)
        provider = seen.providers.named(wish.id)
        if provider is None:
            raise _refused(NoSuchProvider(wish.id))
        shown = NewSmsProvider(item(provider, seen), signing_key or None)
        return json_response(shown, status)

    async def _carry_out(self, key: ApiKey, wish: ProviderFact) -> None:
        refusal = await asyncio.to_thread(carry_out, self._log, key.instance, wish, key.id)
        if refusal is not None:
            raise _refused(refusal)

    async def _overview(self, key: ApiKey) -> Overview:
        return await asyncio.to_thread(overview, self._log, key.instance)

    def _new_key(self) -> str:
        return base64.urlsafe_b64encode(self._log.chance(_KEY_BYTES)).decode()


def item(provider: Provider, seen: Overview) -> SmsProvider:
    pause = seen.pauses.get(provider.id)
    return SmsProvider(
        id=provider.id,
        kind=provider.kind,
        description=provider.description,
        active=seen.providers.active == provider.id,
        missing=[str(part) for part in missing(provider)],
        settings=_shown(provider),
        paused=ProviderPause(pause.until, pause.faults, pause.error) if pause else None,
    )


def _shown(provider: Provider) -> dict[str, str]:
    """Its settings without any secret."""
    match provider.account:
        case Twilio(sid=sid, sender_number=number, verify_service_sid=service):
            return {"sid": sid, "sender_number": number, "verify_service_sid": service}
        case Http(endpoint=endpoint):
            return {"endpoint": endpoint}


def _id(request: Request) -> str:
    return str(request.path_params["id"])


def _refused(refusal: Refusal) -> Refused:
    members: dict[str, Any] = {}
    match refusal:
        case NoSuchProvider():
            kind = NOT_FOUND
        case ProviderExists():
            kind = PROVIDER_EXISTS
        case Incomplete(parts=parts):
            kind, members = PROVIDER_INCOMPLETE, {"missing": [str(part) for part in parts]}
        case _:
            kind = INVALID_COMMAND
    return Refused(kind, refusal.sentence, members=members)
