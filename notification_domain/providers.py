"""The SMS providers of an instance: several are stored, one at most is active."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, TypeAlias, assert_never

import msgspec
from msgspec.structs import replace

from notification_domain import provider_events as e
from notification_domain.provider_events import ProviderFact

# --- state ----------------------------------------------------------------------------------------


class Twilio(msgspec.Struct, frozen=True):
    sid: str = ""
    token: str = ""
    sender_number: str = ""
    verify_service_sid: str = ""


class Http(msgspec.Struct, frozen=True):
    endpoint: str = ""
    signing_key: str = ""
    previous_key: str = ""
    """Signs too, so that a receiver may change keys when it suits it."""


class Provider(msgspec.Struct, frozen=True):
    id: str
    description: str
    account: Twilio | Http

    @property
    def kind(self) -> str:
        return type(self.account).__name__.lower()

    @property
    def title(self) -> str:
        """How sentences for people name it."""
        words = f" ({self.description})" if self.description else ""
        return f"SMS provider {self.id}{words}"


class Providers(msgspec.Struct, frozen=True):
    stored: tuple[Provider, ...] = ()
    active: str = ""
    """Id of the active one; empty when none is."""

    def named(self, provider_id: str) -> Provider | None:
        return next((provider for provider in self.stored if provider.id == provider_id), None)


class Missing(StrEnum):
    """A part without which nothing can leave through a provider."""

    SID = "account SID"
    TOKEN = "token"  # noqa: S105  # its name
    SENDER = "sender number or Verify service"
    ENDPOINT = "endpoint"
    SIGNING_KEY = "signing key"


def missing(provider: Provider) -> tuple[Missing, ...]:
    match provider.account:
        case Twilio(sid, token, sender_number, verify_service_sid):
            parts = {
                Missing.SID: sid,
                Missing.TOKEN: token,
                Missing.SENDER: sender_number or verify_service_sid,
            }
        case Http(endpoint, signing_key):
            parts = {Missing.ENDPOINT: endpoint, Missing.SIGNING_KEY: signing_key}
        case _:
            assert_never(provider.account)
    return tuple(part for part, value in parts.items() if not value)


# --- decide ---------------------------------------------------------------------------------------


class NoSuchProvider(msgspec.Struct, frozen=True):
    id: str

    @property
    def sentence(self) -> str:
        return f"There is no SMS provider {self.id}."


class ProviderExists(msgspec.Struct, frozen=True):
    id: str

    @property
    def sentence(self) -> str:
        return f"There is an SMS provider {self.id} already, with other settings."


class OtherKind(msgspec.Struct, frozen=True):
    """The wish is about a provider of another kind."""

    provider: Provider

    @property
    def sentence(self) -> str:
        return f"{self.provider.title} is of the kind {self.provider.kind}; that does not apply to it."


class Incomplete(msgspec.Struct, frozen=True):
    provider: Provider
    parts: tuple[Missing, ...]

    @property
    def sentence(self) -> str:
        return f"{self.provider.title} has no {' and no '.join(self.parts)}."


Refusal: TypeAlias = NoSuchProvider | ProviderExists | OtherKind | Incomplete


def decide(providers: Providers, wish: ProviderFact) -> tuple[ProviderFact, ...] | Refusal:
    """A wish is spelled as the event it leads to; one that changes nothing leads to none."""
    known = providers.named(wish.id)
    if isinstance(wish, e.TwilioAdded | e.HttpAdded):
        return ProviderExists(wish.id) if known else (wish,)
    if known is None:
        return NoSuchProvider(wish.id)
    match wish:
        case e.ProviderActivated():
            return _activate(providers, known, wish)
        case e.TwilioChanged() | e.TwilioTokenChanged() | e.HttpChanged() if not _fits(known, wish):
            return OtherKind(known)
        case (
            e.TwilioChanged() | e.TwilioTokenChanged() | e.HttpChanged()
            | e.ProviderDeactivated() | e.ProviderRemoved()
        ):  # fmt: skip
            return () if evolve(providers, wish) == providers else (wish,)
        case _:
            assert_never(wish)


def _activate(
    providers: Providers, provider: Provider, wish: e.ProviderActivated
) -> tuple[ProviderFact, ...] | Refusal:
    parts = missing(provider)
    if parts:
        return Incomplete(provider, parts)
    return () if providers.active == wish.id else (wish,)


# --- evolve ---------------------------------------------------------------------------------------


def evolve(providers: Providers, fact: ProviderFact) -> Providers:
    """Total: events of callers may tell of a provider that is not there, or there already."""
    match fact:
        case e.TwilioAdded():
            account = Twilio(fact.sid, fact.token, fact.sender_number, fact.verify_service_sid)
            return _put(providers, Provider(fact.id, fact.description, account))
        case e.HttpAdded():
            return _put(providers, Provider(fact.id, fact.description, Http(fact.endpoint, fact.signing_key)))
        case e.ProviderRemoved():
            return _removed(providers, fact.id)
        case e.ProviderActivated():
            return replace(providers, active=fact.id) if providers.named(fact.id) else providers
        case e.ProviderDeactivated():
            return replace(providers, active="") if providers.active == fact.id else providers
        case e.TwilioChanged() | e.TwilioTokenChanged() | e.HttpChanged():
            known = providers.named(fact.id)
            return _put(providers, _changed(known, fact)) if known else providers
        case _:
            assert_never(fact)


def _put(providers: Providers, provider: Provider) -> Providers:
    others = providers.stored if providers.named(provider.id) else (*providers.stored, provider)
    return replace(providers, stored=tuple(provider if o.id == provider.id else o for o in others))


def _removed(providers: Providers, provider_id: str) -> Providers:
    stored = tuple(provider for provider in providers.stored if provider.id != provider_id)
    return Providers(stored, "" if providers.active == provider_id else providers.active)


def _changed(provider: Provider, fact: e.TwilioChanged | e.TwilioTokenChanged | e.HttpChanged) -> Provider:
    account = provider.account
    told = _told(fact)
    description = told.pop("description", provider.description)
    if not _fits(provider, fact):
        return provider
    if isinstance(account, Http) and told.get("signing_key", account.signing_key) != account.signing_key:
        told["previous_key"] = account.signing_key
    return Provider(provider.id, description, replace(account, **told))


def _fits(provider: Provider, fact: ProviderFact) -> bool:
    return isinstance(fact, e.HttpChanged) == isinstance(provider.account, Http)


def _told(fact: ProviderFact) -> dict[str, Any]:
    fields = msgspec.structs.asdict(fact)
    return {
        name: value
        for name, value in fields.items()
        if value is not None and name not in {"id", "organisation_id"}
    }
