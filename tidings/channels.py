"""The channels of this deployment: real providers where they are configured, else the sandbox."""

from __future__ import annotations

import socket

from tidings.callbacks import providers_callback, sandbox_callback, sandbox_token
from tidings.sandbox_use import SANDBOX, SandboxPlace, sandbox_place
from tidings.settings import Settings
from workers.channels import smtp_settings, twilio_sms
from workers.channels.port import Channel
from workers.channels.smtp import SmtpChannel
from workers.channels.twilio_sms import TwilioChannel
from workers.rendering.mail import Sender

SANDBOX_CONNECTIONS = 128
_SANDBOX_SENDER = Sender("tidings@sandbox.example", "Tidings")
_SANDBOX_NUMBER = "+15005550006"


def channels(settings: Settings) -> dict[str, Channel]:
    """By name; a channel without provider and sandbox is missing. Made inside the running loop."""
    place = sandbox_place(settings)
    found: dict[str, Channel | None] = {"email": _email(settings, place), "sms": _sms(settings, place)}
    return {name: channel for name, channel in found.items() if channel is not None}


def sender(settings: Settings) -> Sender:
    smtp = settings.smtp
    if smtp is None:
        return _SANDBOX_SENDER
    return Sender(smtp.sender_address, smtp.sender_name, smtp.reply_to or "")


def _email(settings: Settings, place: SandboxPlace | None) -> Channel | None:
    given = settings.smtp
    if given is None:
        return _sandbox_email(place) if place else None
    account = smtp_settings.SmtpSettings(
        host=given.host,
        port=given.port,
        tls=given.tls,
        user=given.user,
        password=given.password_text(),
        ca_file=str(given.ca_file or ""),
        server_name=given.server_name,
        verify=given.verify,
        helo=socket.getfqdn(),
        connections=given.connections,
    )
    return SmtpChannel(account, provider=given.host)


def _sandbox_email(place: SandboxPlace) -> Channel:
    account = smtp_settings.SmtpSettings(
        place.smtp_host, place.smtp_port, tls="none", connections=SANDBOX_CONNECTIONS
    )
    return SmtpChannel(account, provider=SANDBOX)


def _sms(settings: Settings, place: SandboxPlace | None) -> Channel | None:
    given = settings.twilio
    if given is None:
        return _sandbox_sms(settings, place) if place else None
    account = twilio_sms.TwilioSettings(
        account_sid=given.account_sid,
        auth_token=given.token_text(),
        sender_number=given.sender_number,
        messaging_service_sid=given.messaging_service_sid,
        base_url=given.base_url.rstrip("/"),
        status_callback=providers_callback(settings),
    )
    return TwilioChannel(account, provider=given.account_sid)


def _sandbox_sms(settings: Settings, place: SandboxPlace) -> Channel:
    account = twilio_sms.TwilioSettings(
        account_sid="ACsandbox",
        auth_token=sandbox_token(settings),
        sender_number=_SANDBOX_NUMBER,
        base_url=place.base_url,
        status_callback=sandbox_callback(settings),
    )
    return TwilioChannel(account, provider=SANDBOX)
