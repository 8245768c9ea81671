"""The twelve triggers as they are published, and occasions made of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from notification_domain.notification_events import NotificationDeclined, NotificationRequested, Source
from notification_domain.policies import Deployment, Occasion, react
from notification_domain.recipients import Instance, Session
from notification_domain.source_events import Fact, canonical_type, interpret
from notification_domain.triggers import Category, trigger_of
from tests.domain.examples import ADA, NOW

REFERENCE = "secret:48113bdd-0a1a-5177-9d7b-1c0b9fae9926"
ORIGIN = "https://login.acme.example:8443"
CODE: dict[str, Any] = {"code": REFERENCE, "expiry": 300, "triggerOrigin": ORIGIN}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table of triggers, as an example."""

    id: str
    type: str
    v1: str = ""
    payload: dict[str, Any] = msgspec.field(default_factory=lambda: dict(CODE))
    message_type: str
    channel: str = "email"
    verified_only: bool = False
    otp: bool = False
    category: Category = Category.CODE
    arguments: dict[str, str]
    sent_type: str
    used_by: str = ""

    @property
    def subject(self) -> str:
        return "session/s-1" if self.type.startswith("session.") else "user/42"

    @property
    def has_code(self) -> bool:
        return "code" in self.payload


_EXPIRY = {"ExpirySeconds": "300"}
_REQUESTED_BY = {"AuthRequestID": "ar-1"}
_DOMAIN = {"Domain": "login.acme.example"}
_SESSION = {"SessionID": "s-1"}

ROWS = (
    Row(
        id="T1",
        type="user.human.initialization.code.added",
        v1="user.initialization.code.added",
        payload=CODE | {"authRequestID": "ar-1"},
        message_type="InitCode",
        category=Category.INVITATION,
        arguments=_REQUESTED_BY | _EXPIRY,
        sent_type="user.human.initialization.code.sent",
        used_by="user.human.initialization.check.succeeded",
    ),
    Row(
        id="T2",
        type="user.human.email.code.added",
        v1="user.email.code.added",
        payload=CODE | {"authRequestID": "ar-1", "url_template": "https://a/{{.Code}}"},
        message_type="VerifyEmail",
        arguments=_REQUESTED_BY | _EXPIRY,
        sent_type="user.human.email.code.sent",
        used_by="user.human.email.verified",
    ),
    Row(
        id="T3",
        type="user.human.password.code.added",
        v1="user.password.code.added",
        payload=CODE | {"authRequestID": "ar-1", "notificationType": 0},
        message_type="PasswordReset",
        arguments=_REQUESTED_BY | _EXPIRY,
        sent_type="user.human.password.code.sent",
        used_by="user.human.password.changed",
    ),
    Row(
        id="T4",
        type="user.human.phone.code.added",
        v1="user.phone.code.added",
        message_type="VerifyPhone",
        channel="sms",
        arguments=_DOMAIN | _EXPIRY,
        sent_type="user.human.phone.code.sent",
        used_by="user.human.phone.verified",
    ),
    Row(
        id="T5",
        type="user.human.mfa.otp.sms.code.added",
        message_type="VerifySMSOTP",
        channel="sms",
        verified_only=True,
        otp=True,
        arguments=_DOMAIN | _EXPIRY,
        sent_type="user.human.mfa.otp.sms.code.sent",
        used_by="user.human.mfa.otp.sms.check.succeeded",
    ),
    Row(
        id="T6",
        type="user.human.mfa.otp.email.code.added",
        payload=CODE | {"id": "ar-1", "userAgentID": "ua-1"},
        message_type="VerifyEmailOTP",
        verified_only=True,
        otp=True,
        arguments=_DOMAIN | _REQUESTED_BY | _EXPIRY,
        sent_type="user.human.mfa.otp.email.code.sent",
        used_by="user.human.mfa.otp.email.check.succeeded",
    ),
    Row(
        id="T7",
        type="session.otp.sms.challenged",
        message_type="VerifySMSOTP",
        channel="sms",
        verified_only=True,
        otp=True,
        arguments=_DOMAIN | _SESSION | _EXPIRY,
        sent_type="session.otp.sms.sent",
        used_by="session.otp.sms.checked",
    ),
    Row(
        id="T8",
        type="session.otp.email.challenged",
        payload=CODE | {"urlTmpl": "https://a/{{.Code}}"},
        message_type="VerifyEmailOTP",
        verified_only=True,
        otp=True,
        arguments=_DOMAIN | _SESSION | _EXPIRY,
        sent_type="session.otp.email.sent",
        used_by="session.otp.email.checked",
    ),
    Row(
        id="T9",
        type="user.domain.claimed",
        payload={"userName": "ada@temporary.example", "triggerOrigin": ORIGIN},
        message_type="DomainClaimed",
        category=Category.NOTICE,
        arguments={"TempUsername": "ada@temporary.example"},
        sent_type="user.domain.claimed.sent",
    ),
    Row(
        id="T10",
        type="user.human.passwordless.initialization.code.requested",
        payload=CODE | {"id": "c-1"},
        message_type="PasswordlessRegistration",
        verified_only=True,
        arguments={"CodeID": "c-1"} | _EXPIRY,
        sent_type="user.human.passwordless.initialization.code.sent",
        used_by="user.human.passwordless.initialization.code.check.succeeded",
    ),
    Row(
        id="T11",
        type="user.human.password.changed",
        payload={"triggerOrigin": ORIGIN},
        message_type="PasswordChange",
        category=Category.NOTICE,
        arguments={},
        sent_type="user.human.password.change.sent",
    ),
    Row(
        id="T12",
        type="user.human.invite.code.added",
        payload=CODE | {"authRequestID": "ar-1", "applicationName": "Acme Mail", "urlTemplate": "https://a"},
        message_type="InviteUser",
        category=Category.INVITATION,
        arguments={"ApplicationName": "Acme Mail"} | _REQUESTED_BY | _EXPIRY,
        sent_type="user.human.invite.code.sent",
        used_by="user.human.invite.check.succeeded",
    ),
)
BY_ID = {row.id: row for row in ROWS}

CHECKED = Session(user_id="42", organisation_id="acme")
ACME = Instance(name="Acme", primary_domain="acme.example", domains=("acme.example",))


def occasion(row: Row, payload: dict[str, Any] | None = None, **known: Any) -> Occasion:
    """The row's trigger, pulled a minute ago; ``payload`` adds to its fields."""
    trigger = trigger_of(row.type)
    fact = interpret(row.type, row.payload | (payload or {}))
    assert trigger is not None
    assert fact is not None
    given = {"user": ADA, "session": CHECKED if row.subject.startswith("session/") else Session()}
    return Occasion(
        trigger=trigger,
        source=Source(row.subject, 7, "https://id.acme.example", "e-1", row.type),
        fact=fact,
        happened_at=NOW - timedelta(minutes=1),
        now=NOW,
        position_seen=12,
        **(given | {"instance": ACME} | known),
    )


def later(*events: tuple[str, dict[str, Any]] | str) -> tuple[tuple[str, Fact | None], ...]:
    """Newer events of the same stream, as a decision sees them."""
    named = [(event, {}) if isinstance(event, str) else event for event in events]
    return tuple(
        (canonical_type(event_type), interpret(event_type, payload)) for event_type, payload in named
    )


def requested(pulled: Occasion, deployment: Deployment | None = None) -> NotificationRequested:
    decision = react(pulled, deployment or Deployment())
    assert isinstance(decision, NotificationRequested)
    return decision


def declined(pulled: Occasion) -> NotificationDeclined:
    decision = react(pulled, Deployment())
    assert isinstance(decision, NotificationDeclined)
    return decision
