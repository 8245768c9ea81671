"""The twelve triggers: which source event asks for which message, and what makes it pointless."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from notification_domain.source_events import canonical_type


class Category(StrEnum):
    CODE = "code"
    NOTICE = "notice"
    INVITATION = "invitation"


class Trigger(msgspec.Struct, frozen=True):
    """One row of the table; the rule's name is its trigger's canonical type."""

    rule: str
    message_type: str
    channel: str
    """email, sms, or by_type: the event's notification_type decides."""
    sent_type: str
    """Type of the event written back to the source stream."""
    verified_only: bool = False
    otp: bool = False
    category: Category = Category.CODE
    superseded_by: frozenset[str] = frozenset()
    used_by: frozenset[str] = frozenset()
    per_code_id: bool = False
    """Later events count only for the same code id."""


def _code(stem: str, message_type: str, channel: str, used: str, **rest: object) -> Trigger:
    rule = f"{stem}.added"
    fields = {"superseded_by": frozenset({rule}), "used_by": frozenset({used}), **rest}
    return Trigger(rule, message_type, channel, f"{stem}.sent", **fields)  # type: ignore[arg-type]  # rows are data


def _challenge(medium: str, message_type: str) -> Trigger:
    stem = f"session.otp.{medium}"
    return Trigger(
        f"{stem}.challenged",
        message_type,
        medium,
        f"{stem}.sent",
        verified_only=True,
        otp=True,
        superseded_by=frozenset({f"{stem}.challenged", "session.terminated"}),
        used_by=frozenset({f"{stem}.checked"}),
    )


_PASSKEY = "user.human.passwordless.initialization.code"
_OTP = "user.human.mfa.otp"

TRIGGERS: tuple[Trigger, ...] = (
    _code(
        "user.human.initialization.code",
        "InitCode",
        "email",
        "user.human.initialization.check.succeeded",
        category=Category.INVITATION,
    ),
    _code("user.human.email.code", "VerifyEmail", "email", "user.human.email.verified"),
    _code("user.human.password.code", "PasswordReset", "by_type", "user.human.password.changed"),
    _code("user.human.phone.code", "VerifyPhone", "sms", "user.human.phone.verified"),
    _code(
        f"{_OTP}.sms.code",
        "VerifySMSOTP",
        "sms",
        f"{_OTP}.sms.check.succeeded",
        verified_only=True,
        otp=True,
    ),
    _code(
        f"{_OTP}.email.code",
        "VerifyEmailOTP",
        "email",
        f"{_OTP}.email.check.succeeded",
        verified_only=True,
        otp=True,
    ),
    _challenge("sms", "VerifySMSOTP"),
    _challenge("email", "VerifyEmailOTP"),
    Trigger(
        "user.domain.claimed",
        "DomainClaimed",
        "email",
        "user.domain.claimed.sent",
        category=Category.NOTICE,
        superseded_by=frozenset({"user.domain.claimed"}),
    ),
    Trigger(
        f"{_PASSKEY}.requested",
        "PasswordlessRegistration",
        "email",
        f"{_PASSKEY}.sent",
        verified_only=True,
        used_by=frozenset({f"{_PASSKEY}.check.succeeded"}),
        per_code_id=True,
    ),
    Trigger(
        "user.human.password.changed",
        "PasswordChange",
        "email",
        "user.human.password.change.sent",
        category=Category.NOTICE,
    ),
    _code(
        "user.human.invite.code",
        "InviteUser",
        "email",
        "user.human.invite.check.succeeded",
        category=Category.INVITATION,
    ),
)

_BY_RULE = {trigger.rule: trigger for trigger in TRIGGERS}
_STATE_ONLY = "user.password.changed"
"""This v1 name tells that a password is set, but has never asked for a message."""

LIFE_CYCLE = frozenset(
    {"user.locked", "user.unlocked", "user.deactivated", "user.reactivated", "user.removed"},
)


SURROUNDINGS = frozenset({"org.deactivated", "org.reactivated", "org.removed", "instance.removed"})
"""What becomes of the organisation and the instance that a user belongs to."""


def trigger_of(event_type: str) -> Trigger | None:
    """The trigger an event of this type pulls, by its current or its v1 name."""
    return None if event_type == _STATE_ONLY else _BY_RULE.get(canonical_type(event_type))


def trigger_named(rule: str) -> Trigger | None:
    return _BY_RULE.get(rule)


def types_that_matter(trigger: Trigger) -> frozenset[str]:
    """Canonical types whose later arrival may make this trigger's message pointless."""
    return trigger.superseded_by | trigger.used_by | {trigger.sent_type} | LIFE_CYCLE
