"""What Twilio's answers, and its silence, mean for one text message."""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal, TypeAlias

from notification_domain.outcomes import Deferred, Outcome, Rejected, Unknown
from workers.channels.reply_text import error_text

Stage: TypeAlias = Literal["local", "config", "connect", "request", "reply"]

UNSUBSCRIBED = 21610
TOO_MANY_REQUESTS = 20429
AUTHENTICATION_FAILED = 20003
CALLBACK_REFUSED = 21609
"""Our public address is none that Twilio can call: a fault of the settings, not of the message."""
MESSAGE_REFUSED = frozenset({21211, 21408, 21612, 21614, 21617, 60203, 60410})
"""Not a number, region not enabled, no route, not a mobile number, text too long; of Verify: sent too often
(though its status is 429), number blocked."""

_ACCOUNT_FAULTS = frozenset({AUTHENTICATION_FAILED, CALLBACK_REFUSED})
_TRY_AGAIN = frozenset({408, 425, 429})
_ACCOUNT_REFUSED = frozenset({401, 403})


def outcome_of_refusal(status: int, code: int, error: str, retry_after: float | None) -> Outcome:
    """The outcome of a whole answer outside 2xx: a known ``code`` wins over the status."""
    if code == UNSUBSCRIBED:
        return Rejected("reply", error, suppress=True)
    if code in MESSAGE_REFUSED:
        return Rejected("reply", error)
    if code == TOO_MANY_REQUESTS or status in _TRY_AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Deferred("reply", error, retry_after=retry_after)
    if code in _ACCOUNT_FAULTS or status in _ACCOUNT_REFUSED:
        return Deferred("reply", error, account_fault=True)
    # A redirect took no message; it is never followed.
    return Rejected("reply", error) if status >= HTTPStatus.BAD_REQUEST else Deferred("reply", error)


def outcome_of_break(stage: Stage, error: Exception) -> Deferred | Unknown:
    """The outcome without a usable answer: harmless until there was a connection, a doubt after it."""
    text = error_text(error)
    return Deferred(stage, text) if stage == "connect" else Unknown(stage, text)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds asked for by Retry-After (RFC 9110, 10.2.3); a date counts from the answer's own Date."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        until = email.utils.parsedate_to_datetime(value)
        return max(0.0, (until - email.utils.parsedate_to_datetime(headers.get("Date", ""))).total_seconds())
    except (TypeError, ValueError):
        return None
