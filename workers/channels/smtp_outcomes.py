"""What a reply, or the lack of one, means at each stage of an SMTP delivery.

The stage alone decides: the same broken connection is harmless before the final dot and a doubt after it.
"""

from __future__ import annotations

import ssl
from typing import Literal, TypeAlias

from notification_domain.outcomes import Deferred, Outcome, Rejected, Unknown
from workers.channels.reply_text import error_text
from workers.channels.smtp_replies import Reply

Stage: TypeAlias = Literal[
    "local", "config", "connect", "banner", "ehlo", "tls", "auth", "mail", "rcpt", "data", "body", "dot"
]

SERVICE_CLOSING = 421
AUTHENTICATION_REQUIRED = 530
START_INPUT = 354
_MAIL_ACCEPTED = 25
"""The first two digits of what accepts an envelope or a mail: a 221 after the dot accepts nothing."""

_ACCOUNT_STAGES = frozenset({"config", "banner", "ehlo", "tls", "auth"})
"""Before the envelope no server knows the message, so a final refusal there is about the account."""
_SENDER_AT_FAULT = ("5.1.7", "5.1.8")


class AccountError(Exception):
    """No message can travel with this account until somebody changes it or the server."""


def is_accepted(stage: Stage, reply: Reply) -> bool:
    return reply.code == START_INPUT if stage == "data" else reply.code // 10 == _MAIL_ACCEPTED


def outcome_of_reply(stage: Stage, reply: Reply) -> Outcome:
    """The outcome of any reply that is not the one hoped for at this stage."""
    match reply.code // 100:
        case 4:
            return Deferred(stage, str(reply), account_fault=stage == "tls")
        case 5 if stage in _ACCOUNT_STAGES or reply.code == AUTHENTICATION_REQUIRED:
            return Deferred(stage, str(reply), account_fault=True)
        case 5:
            return Rejected(stage, str(reply), suppress=stage == "rcpt" and _is_bad_address(reply))
        case _:
            return _outcome_of_silence(stage, f"unexpected reply {reply}")


def outcome_of_break(stage: Stage, error: Exception) -> Deferred | Unknown:
    """The outcome when the conversation broke off, in whatever way, while this stage was waiting."""
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
    outcome = _outcome_of_silence(stage, error_text(cause))
    if isinstance(outcome, Deferred) and _is_account_fault(stage, cause):
        return Deferred(stage, outcome.error, account_fault=True)
    return outcome


def _outcome_of_silence(stage: Stage, error: str) -> Deferred | Unknown:
    return Unknown(stage, error) if stage == "dot" else Deferred(stage, error)


def _is_account_fault(stage: Stage, error: Exception) -> bool:
    untrusted = stage == "tls" and isinstance(error, ssl.SSLError)
    return untrusted or stage == "config" or isinstance(error, AccountError)


def _is_bad_address(reply: Reply) -> bool:
    return reply.enhanced_code.startswith("5.1.") and reply.enhanced_code not in _SENDER_AT_FAULT
