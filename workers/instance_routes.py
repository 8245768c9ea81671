"""Routes that follow an instance's own SMS provider, with the deployment's routes for all the others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping
from datetime import datetime

import msgspec

from event_log import provider_settings, secret_store
from event_log.database import LogCursor
from event_log.log import Log
from event_log.provider_settings import AccountPause, Stored
from notification_domain.providers import Http, Provider, Twilio, missing
from workers.accounts import Account
from workers.channels.address_guard import Network
from workers.channels.http_provider import HttpProviderChannel, HttpProviderSettings
from workers.channels.port import Channel
from workers.channels.twilio_sms import TwilioChannel, TwilioSettings
from workers.rendering.mail import Sender
from workers.routes import Closed, Route

SMS = "sms"
CHANNELS = ("email", SMS)
"""All of them, so that what nobody can deliver is said and ends with its time."""
NO_INSTANCE = ""
"""Stands for the deployment's own accounts."""


class Surroundings(msgspec.Struct, frozen=True):
    """Where providers are reached; tests and sandboxes stand in for them."""

    twilio_url: str = "https://api.twilio.com"
    twilio_verify_url: str = "https://verify.twilio.com"
    own_networks: tuple[Network, ...] = ()
    status_callback: str = ""
    """Where Twilio accounts of instances call back; empty: nowhere."""


class _Chosen(msgspec.Struct, frozen=True):
    """What came of a provider as it was set up when it was looked at."""

    provider: Provider
    closed: Closed | None = None
    route: Route | None = None
    account: Account | None = None


class InstanceRoutes:
    """Implements ``Routes``, for many threads. Made inside the running loop."""

    def __init__(
        self,
        log: Log,
        deployment: Mapping[str, Route],
        surroundings: Surroundings,
        clock: Callable[[], datetime],
    ) -> None:
        self._log = log
        self._surroundings = surroundings
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._learning = threading.Lock()
        self._stored: dict[str, Stored] = {}
        self._chosen: dict[str, _Chosen] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._accounts = {
            name: self._account(NO_INSTANCE, route.channel) for name, route in deployment.items()
        }
        self._deployment = {
            name: msgspec.structs.replace(route, channel=self._accounts[name])
            for name, route in deployment.items()
        }

    def channels(self) -> Collection[str]:
        return CHANNELS

    def refresh(self, wanted: Collection[tuple[str, str]]) -> None:
        """One query for those that have text messages to send, none for the others."""
        instances = {instance for instance, channel in wanted if channel == SMS}
        if not instances:
            return
        # One after another: what was read later must not be overwritten by what was read before.
        with self._learning, self._log.database.connection() as connection:
            cursor = connection.cursor()
            found = provider_settings.newest(self._log, cursor, instances, self._stored)
            for instance, stored in found.items():
                if stored != self._stored.get(instance):
                    self._choose(cursor, instance, stored)
                self._stored[instance] = stored

    def route(self, instance: str, channel: str) -> Route | Closed | None:
        if channel != SMS:
            return _open(self._deployment.get(channel), self._accounts.get(channel))
        stored = self._stored.get(instance, Stored())
        if stored.unreadable:
            return Closed("provider", stored.unreadable)
        chosen = self._chosen.get(instance)
        if chosen is None:
            return _open(self._deployment.get(channel), self._accounts.get(channel))
        return chosen.closed or _open(chosen.route, chosen.account)

    async def close(self) -> None:
        """What is being retired is awaited by then: nothing is under way any more."""
        if self._retiring:
            await asyncio.wait(self._retiring)
        mine = [chosen.account for chosen in self._chosen.values() if chosen.account]
        for account in (*self._accounts.values(), *mine):
            await account.close()

    # --- choosing ---------------------------------------------------------------------------------

    def _choose(self, cursor: LogCursor, instance: str, stored: Stored) -> None:
        provider = stored.providers.named(stored.providers.active)
        before = self._chosen.get(instance)
        if before is not None and before.provider == provider:
            return
        if before is not None and before.account is not None:
            self._loop.call_soon_threadsafe(self._retire, before.account)
        self._chosen.pop(instance, None)
        if provider is not None:
            self._chosen[instance] = self._chosen_for(cursor, instance, provider)

    def _chosen_for(self, cursor: LogCursor, instance: str, provider: Provider) -> _Chosen:
        parts = missing(provider)
        if parts:
            return _Chosen(provider, Closed("config", f"{provider.title} has no {' and no '.join(parts)}"))
        secrets = secret_store.reveal(cursor, self._log.secret_seal, _references(provider))
        channel = _channel(provider, secrets, self._surroundings, self._clock)
        if channel is None:
            return _Chosen(provider, Closed("config", f"{provider.title}: its {_secret(provider)} is gone"))
        account = self._account(instance, channel)
        return _Chosen(provider, None, _route(provider, account), account)

    def _account(self, instance: str, channel: Channel) -> Account:
        def note(pause: AccountPause | None) -> None:
            with self._log.database.connection() as connection:
                cursor = connection.cursor()
                if pause is None:
                    provider_settings.lift_pause(cursor, instance, channel.provider)
                else:
                    provider_settings.pause_account(cursor, instance, pause)

        return Account(channel, self._clock, note)

    def _retire(self, account: Account) -> None:
        task = asyncio.ensure_future(account.retire())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)


def _open(route: Route | None, account: Account | None) -> Route | Closed | None:
    hindrance = account.hindrance() if account else None
    return Closed("account", hindrance) if hindrance else route


def _route(provider: Provider, account: Account) -> Route:
    sender = Sender("")
    match provider.account:
        case Twilio(sender_number=number, verify_service_sid=service):
            return Route(account, sender, texts=bool(number), verifies=bool(service))
        case Http():
            return Route(account, sender)


def _references(provider: Provider) -> list[str]:
    match provider.account:
        case Twilio(token=token):
            return [token]
        case Http(signing_key=key, previous_key=previous):
            return [reference for reference in (key, previous) if reference]


def _secret(provider: Provider) -> str:
    return "token" if isinstance(provider.account, Twilio) else "signing key"


def _channel(
    provider: Provider, secrets: Mapping[str, str], surroundings: Surroundings, clock: Callable[[], datetime]
) -> Channel | None:
    """None when the secret it cannot do without is not kept."""
    match provider.account:
        case Twilio(sid, token, sender_number, verify_service_sid):
            settings = TwilioSettings(
                sid,
                secrets.get(token, ""),
                sender_number,
                base_url=surroundings.twilio_url,
                status_callback=surroundings.status_callback,
                verify_service_sid=verify_service_sid,
                verify_url=surroundings.twilio_verify_url,
            )
            return TwilioChannel(settings, provider=provider.id) if settings.auth_token else None
        case Http(endpoint, key, previous):
            keys = tuple(secrets[reference] for reference in (key, previous) if reference in secrets)
            if key not in secrets:
                return None
            own = surroundings.own_networks
            http = HttpProviderSettings(endpoint, keys, provider.id, provider.description, own)
            return HttpProviderChannel(http, clock)
