"""Reads the form of a message request, with Twilio's checks and its magic numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
from aiohttp import web
from yarl import URL

LONGEST_BODY = 1600
_NUMBER = re.compile(r"\+[1-9]\d{6,14}")
_SENDER = re.compile(r"\+[1-9]\d{6,14}|\d{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 &+_-]{1,11}")
_MAGIC_RECIPIENTS: Mapping[str, int] = {
    "+15005550001": 21211,
    "+15005550002": 21612,
    "+15005550003": 21408,
    "+15005550004": 21610,
    "+15005550009": 21614,
}
_MAGIC_SENDERS: Mapping[str, int] = {"+15005550001": 21212, "+15005550007": 21606, "+15005550008": 21611}


class MessageRequest(msgspec.Struct, frozen=True):
    to: str
    sender: str | None
    messaging_service: str | None
    body: str
    callback: str | None


async def read_form(request: web.Request) -> dict[str, str]:
    """Text fields only; the last of a name wins."""
    form = await request.post()
    return {name: value for name, value in form.items() if isinstance(value, str)}


def read_message(form: Mapping[str, str]) -> MessageRequest | int:
    """The message, or the Twilio code of the first thing that is wrong with it."""
    wrong = _recipient_error(form) or _sender_error(form) or _body_error(form) or _callback_error(form)
    if wrong:
        return wrong
    return MessageRequest(
        form["To"],
        form.get("From") or None,
        form.get("MessagingServiceSid") or None,
        form["Body"],
        form.get("StatusCallback") or None,
    )


def is_number(number: str) -> bool:
    return _NUMBER.fullmatch(number) is not None


def _recipient_error(form: Mapping[str, str]) -> int | None:
    to = form.get("To", "")
    if not to:
        return 21604
    return _MAGIC_RECIPIENTS.get(to) if is_number(to) else 21211


def _sender_error(form: Mapping[str, str]) -> int | None:
    sender = form.get("From", "")
    if not sender:
        return None if form.get("MessagingServiceSid") else 21603
    return _MAGIC_SENDERS.get(sender) if _SENDER.fullmatch(sender) else 21212


def _body_error(form: Mapping[str, str]) -> int | None:
    body = form.get("Body", "")
    if not body:
        return 21602
    return 21617 if len(body) > LONGEST_BODY else None


def _callback_error(form: Mapping[str, str]) -> int | None:
    callback = form.get("StatusCallback")
    return None if not callback or _is_web_address(callback) else 21609


def _is_web_address(address: str) -> bool:
    try:
        url = URL(address)
    except ValueError:
        return False
    return url.scheme in {"http", "https"} and bool(url.host)
