"""Which channels the sandbox stands in for, and where it listens."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from tidings.settings import Settings

CHANNELS = ("email", "sms")
SANDBOX = "sandbox"
"""Its name as a provider, in events."""
LOOPBACK = "127.0.0.1"
"""Where the sandbox of `tidings up` listens, whatever the API does: its pages stand beside the API's."""


class SandboxPlace(msgspec.Struct, frozen=True):
    smtp_host: str
    smtp_port: int
    base_url: str


def channels_without_provider(settings: Settings) -> tuple[str, ...]:
    configured = {"email": settings.smtp, "sms": settings.twilio}
    return tuple(channel for channel in CHANNELS if configured[channel] is None)


def sandbox_is_wanted(settings: Settings) -> bool:
    match settings.sandbox.enabled:
        case "true":
            return True
        case "false":
            return False
        case _:
            return bool(channels_without_provider(settings))


def sandbox_place(settings: Settings) -> SandboxPlace | None:
    """Where a sandbox is reached; None when it is off or nobody said where it listens."""
    sandbox = settings.sandbox
    if not sandbox_is_wanted(settings) or sandbox.smtp_port is None:
        return None
    if sandbox.url:
        return SandboxPlace(urlsplit(sandbox.url).hostname or "", sandbox.smtp_port, sandbox.url.rstrip("/"))
    if sandbox.http_port is None:
        return None
    return SandboxPlace(LOOPBACK, sandbox.smtp_port, f"http://{LOOPBACK}:{sandbox.http_port}")


def routes_in_words(settings: Settings) -> list[str]:
    """One line a channel: where its messages go."""
    email = f"{settings.smtp.host} (sandbox off)" if settings.smtp else _without_provider(settings)
    sms = (
        f"{_host(settings.twilio.base_url)} (sandbox off)" if settings.twilio else _without_provider(settings)
    )
    return [f"email: {email}", f"sms: {sms}", f"callbacks: {_callbacks(settings)}"]


def _callbacks(settings: Settings) -> str:
    if settings.external.public_url:
        return f"providers call {settings.external.public_url}"
    return f"{_who_calls(settings)}; external.public_url does not say where providers reach this deployment"


def _who_calls(settings: Settings) -> str:
    return "only the sandbox" if sandbox_is_wanted(settings) and not settings.sandbox.url else "none"


def _without_provider(settings: Settings) -> str:
    return "sandbox" if sandbox_is_wanted(settings) else "no provider and no sandbox: nothing is sent"


def _host(url: str) -> str:
    return urlsplit(url).hostname or url
