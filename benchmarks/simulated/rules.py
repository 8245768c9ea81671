"""What each rule promises, written down a second time: the product's own table is not asked.

Only the rules that stories use.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from event_log.envelope import RecordedEvent, SourceEvent

RESEND_NEEDS = timedelta(seconds=60)


class Rule(msgspec.Struct, frozen=True):
    sent: str
    superseded: frozenset[str] = frozenset()
    used: frozenset[str] = frozenset()
    notice: bool = False
    """Goes to everyone who still exists; the others only to the active."""
    parks: bool = False
    """Never sent again by itself after an unknown outcome."""
    by_code_id: bool = False
    one_time: bool = False
    """A code even where somebody else has made it."""


def _code(stem: str, used: str, **more: bool) -> tuple[str, Rule]:
    added = f"{stem}.added"
    return added, Rule(f"{stem}.sent", frozenset({added}), frozenset({used}), **more)


def _challenge(medium: str) -> tuple[str, Rule]:
    name = f"session.otp.{medium}.challenged"
    pointless = frozenset({name, "session.terminated"})
    used = frozenset({f"session.otp.{medium}.checked"})
    return name, Rule(f"session.otp.{medium}.sent", pointless, used, one_time=True)


_PASSKEY = "user.human.passwordless.initialization.code"

RULES: Mapping[str, Rule] = dict(
    (
        _code("user.human.email.code", "user.human.email.verified"),
        _code("user.human.password.code", "user.human.password.changed"),
        _code("user.human.phone.code", "user.human.phone.verified"),
        _code("user.human.mfa.otp.email.code", "user.human.mfa.otp.email.check.succeeded", one_time=True),
        _code("user.human.invite.code", "user.human.invite.check.succeeded", parks=True),
        _challenge("sms"),
        _challenge("email"),
        (
            "user.domain.claimed",
            Rule("user.domain.claimed.sent", frozenset({"user.domain.claimed"}), notice=True),
        ),
        ("user.human.password.changed", Rule("user.human.password.change.sent", notice=True)),
        (
            f"{_PASSKEY}.requested",
            Rule(f"{_PASSKEY}.sent", used=frozenset({f"{_PASSKEY}.check.succeeded"}), by_code_id=True),
        ),
    )
)

_STATES = {
    "user.locked": "locked",
    "user.unlocked": "active",
    "user.deactivated": "deactivated",
    "user.removed": "removed",
}
_SURROUNDINGS = frozenset({"org.deactivated", "org.reactivated", "org.removed", "instance.removed"})


def user_state(types: list[str]) -> str:
    """What a user's events come to; who was removed stays so."""
    state = "active"
    for name in types:
        if state != "removed":
            state = _STATES.get(name, state)
    return state


def may_reach(rule: Rule, state: str) -> bool:
    return state == "active" or (rule.notice and state != "removed")


def is_removed(types: list[str]) -> bool:
    """Whether an organisation or instance is gone, by what its events say of it last."""
    said = [name for name in types if name in _SURROUNDINGS]
    return bool(said) and said[-1].endswith(".removed")


def speaks_for(rule: Rule, later: RecordedEvent, version: int, notification: str) -> bool:
    """A sent event that is not one's own: without a cause that anybody understands, or with this very one."""
    assert isinstance(later.fact, SourceEvent)
    cause = later.fact.data.get("cause")
    if later.topic != rule.sent or not isinstance(cause, dict):
        return later.topic == rule.sent
    return cause["version"] == version and cause.get("notification_id") != notification


def aftermath(request: Any, at: datetime, expires_at: datetime, *, doubts: int, exhausted: bool) -> str:  # noqa: ANN401  # the fact
    """What an unknown outcome must lead to."""
    rule = RULES[request.rule]
    if doubts or exhausted or rule.parks:
        return "park"
    if request.secret or rule.one_time:
        deadline = request.code_expires_at or expires_at
        return "resend" if deadline - at > RESEND_NEEDS else "expire"
    return "resend" if request.channel == "email" else "park"
