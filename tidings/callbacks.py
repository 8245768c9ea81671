"""Where providers are asked to call back, and by whose token such calls are signed."""

from __future__ import annotations

from api.dependencies import Callbacks
from event_log.callbacks import TWILIO_PATH
from tidings.composition import deployment_key
from tidings.listening import local_url
from tidings.sandbox_use import SANDBOX, sandbox_place
from tidings.settings import Settings


def callbacks(settings: Settings) -> Callbacks:
    """How the API knows them."""
    return Callbacks(_reached_at(settings), _tokens(settings))


def providers_callback(settings: Settings) -> str:
    """Where Twilio calls; a message's reference follows. Empty while nobody said how to reach us."""
    return _address(settings.external.public_url or "")


def sandbox_callback(settings: Settings) -> str:
    """The same for the sandbox, which reaches a neighbour without being told."""
    return _address(_reached_at(settings))


def sandbox_token(settings: Settings) -> str:
    """The same in all processes, so that one can check what another has asked for."""
    return deployment_key(settings).derive("sandbox account").hex()


def _reached_at(settings: Settings) -> str:
    if settings.external.public_url:
        return settings.external.public_url
    beside_us = sandbox_place(settings) is not None and not settings.sandbox.url
    return local_url(settings.host, settings.port) if beside_us else ""


def _tokens(settings: Settings) -> dict[str, str]:
    given = settings.twilio
    own = {given.account_sid: given.token_text()} if given else {}
    return own | ({SANDBOX: sandbox_token(settings)} if sandbox_place(settings) else {})


def _address(base: str) -> str:
    return f"{base}{TWILIO_PATH}" if base else ""
