"""What other services append: the facts we understand, and how their payloads are spelled.

Unknown types are kept but mean nothing to us; for known types ``interpret`` gives the fact or says
which field is wrong. Spellings follow the systems that already publish such events, camel case and
snake case alike; the canonical form is snake case.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from notification_domain import provider_events
from notification_domain.provider_events import ProviderFact

Text: TypeAlias = Annotated[str, Meta(max_length=2000)]
NANOSECONDS_FROM = 10**9
"""Integer expiries from here up are nanoseconds: no code lives for thirty years."""
LONGEST_EXPIRY = 2**63 // 10**9
"""Seconds; what 64 bits of nanoseconds can say, and a date can still be reckoned with."""


class InvalidData(Exception):
    """A known event's payload is not what its type asks for; ``pointer`` is an RFC 6901 JSON pointer."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(f"{pointer}: {message}")
        self.pointer = pointer
        self.message = message


class _Fact(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    organisation_id: Text = ""


class CodeAdded(_Fact, frozen=True, kw_only=True):
    """A code was made, or a challenge issued; the trigger of most messages."""

    code: Text = ""
    expiry: Annotated[int, Meta(ge=0, le=LONGEST_EXPIRY)] = 0
    """Seconds; 0 means that the code has no expiry of its own."""
    url_template: Annotated[str, Meta(max_length=4000)] = ""
    code_returned: bool = False
    trigger_origin: Text = ""
    auth_request_id: Text = ""
    notification_type: Annotated[int, Meta(ge=0, le=1)] = 0
    """0 e-mail, 1 SMS."""
    code_id: Text = ""
    generator_id: Text = ""
    application_name: Text = ""
    user_id: Text = ""


class CodeUsed(_Fact, frozen=True, kw_only=True):
    code_id: Text = ""


class Cause(msgspec.Struct, frozen=True, gc=False):
    """Which trigger a sent event answers: its stream's version."""

    version: int
    notification_id: str = ""


class CodeSent(_Fact, frozen=True, kw_only=True):
    """A message went out. With a cause it counts for that trigger alone, without for all before it."""

    cause: Cause | None = None
    code_id: Text = ""


class UserAdded(_Fact, frozen=True, kw_only=True):
    user_name: Text = ""
    first_name: Text = ""
    last_name: Text = ""
    nick_name: Text = ""
    display_name: Text = ""
    preferred_language: Text = ""
    email: Text = ""
    phone: Text = ""
    password_set: bool = False


class ProfileChanged(_Fact, frozen=True, kw_only=True):
    first_name: Text | None = None
    last_name: Text | None = None
    nick_name: Text | None = None
    display_name: Text | None = None
    preferred_language: Text | None = None


class EmailChanged(_Fact, frozen=True, kw_only=True):
    email: Text


class EmailVerified(_Fact, frozen=True, kw_only=True):
    pass


class PhoneChanged(_Fact, frozen=True, kw_only=True):
    phone: Text


class PhoneVerified(_Fact, frozen=True, kw_only=True):
    pass


class PhoneRemoved(_Fact, frozen=True, kw_only=True):
    pass


class PasswordChanged(_Fact, frozen=True, kw_only=True):
    trigger_origin: Text = ""


class UserStateChanged(_Fact, frozen=True, kw_only=True):
    state: str
    """active, locked, deactivated or removed."""


class UserNameChanged(_Fact, frozen=True, kw_only=True):
    user_name: Text


class DomainClaimed(_Fact, frozen=True, kw_only=True):
    user_name: Text
    trigger_origin: Text = ""
    url_template: Annotated[str, Meta(max_length=4000)] = ""


class SessionUserChecked(_Fact, frozen=True, kw_only=True):
    user_id: Text
    preferred_language: Text = ""


class SessionTerminated(_Fact, frozen=True, kw_only=True):
    pass


class NameSet(_Fact, frozen=True, kw_only=True):
    name: Text = ""


class OrganisationStateChanged(_Fact, frozen=True, kw_only=True):
    state: str


class DomainAdded(_Fact, frozen=True, kw_only=True):
    domain: Text


class PrimaryDomainSet(_Fact, frozen=True, kw_only=True):
    domain: Text


class DomainRemoved(_Fact, frozen=True, kw_only=True):
    domain: Text


class DomainPolicySet(_Fact, frozen=True, kw_only=True):
    user_login_must_be_domain: bool | None = None
    removed: bool = False


class NotificationPolicySet(_Fact, frozen=True, kw_only=True):
    password_change: bool | None = None
    removed: bool = False


class DefaultLanguageSet(_Fact, frozen=True, kw_only=True):
    language: Text


class AllowedLanguagesSet(_Fact, frozen=True, kw_only=True):
    allowed_languages: list[Text] | None = None


class LoginV2Set(_Fact, frozen=True, kw_only=True):
    required: bool = False
    base_uri: Text = ""


Fact: TypeAlias = (
    CodeAdded | CodeUsed | CodeSent | UserAdded | ProfileChanged | EmailChanged | EmailVerified
    | PhoneChanged | PhoneVerified | PhoneRemoved | PasswordChanged | UserStateChanged | UserNameChanged
    | DomainClaimed | SessionUserChecked | SessionTerminated | NameSet | OrganisationStateChanged
    | DomainAdded | PrimaryDomainSet | DomainRemoved | DomainPolicySet | NotificationPolicySet
    | DefaultLanguageSet | AllowedLanguagesSet | LoginV2Set | ProviderFact
)  # fmt: skip


class _Known(msgspec.Struct, frozen=True):
    kind: str
    fact: type[Fact]
    fixed: dict[str, Any] = {}
    id_means: str = ""
    """What a payload's top-level ``id`` stands for in this type."""
    absent: dict[str, Any] = {}
    """What a field that is left out means in this type."""


# Where a policy is set up, false is left out; where it is changed, what does not change is.
_NO_LOGIN_DOMAIN = {"user_login_must_be_domain": False}
_NO_ANNOUNCEMENT = {"password_change": False}

_USER: dict[str, _Known] = {
    "user.human.initialization.code.added": _Known("user", CodeAdded),
    "user.human.initialization.code.sent": _Known("user", CodeSent),
    "user.human.initialization.check.succeeded": _Known("user", CodeUsed),
    "user.human.email.code.added": _Known("user", CodeAdded),
    "user.human.email.code.sent": _Known("user", CodeSent),
    "user.human.email.verified": _Known("user", EmailVerified),
    "user.human.email.changed": _Known("user", EmailChanged),
    "user.human.phone.code.added": _Known("user", CodeAdded),
    "user.human.phone.code.sent": _Known("user", CodeSent),
    "user.human.phone.verified": _Known("user", PhoneVerified),
    "user.human.phone.changed": _Known("user", PhoneChanged),
    "user.human.phone.removed": _Known("user", PhoneRemoved),
    "user.human.password.code.added": _Known("user", CodeAdded),
    "user.human.password.code.sent": _Known("user", CodeSent),
    "user.human.password.changed": _Known("user", PasswordChanged),
    "user.human.password.change.sent": _Known("user", CodeSent),
    "user.human.mfa.otp.sms.code.added": _Known("user", CodeAdded, id_means="auth_request_id"),
    "user.human.mfa.otp.sms.code.sent": _Known("user", CodeSent),
    "user.human.mfa.otp.sms.check.succeeded": _Known("user", CodeUsed),
    "user.human.mfa.otp.email.code.added": _Known("user", CodeAdded, id_means="auth_request_id"),
    "user.human.mfa.otp.email.code.sent": _Known("user", CodeSent),
    "user.human.mfa.otp.email.check.succeeded": _Known("user", CodeUsed),
    "user.human.passwordless.initialization.code.requested": _Known("user", CodeAdded, id_means="code_id"),
    "user.human.passwordless.initialization.code.sent": _Known("user", CodeSent, id_means="code_id"),
    "user.human.passwordless.initialization.code.check.succeeded": _Known(
        "user", CodeUsed, id_means="code_id"
    ),
    "user.human.invite.code.added": _Known("user", CodeAdded),
    "user.human.invite.code.sent": _Known("user", CodeSent),
    "user.human.invite.check.succeeded": _Known("user", CodeUsed),
    "user.human.added": _Known("user", UserAdded),
    "user.human.selfregistered": _Known("user", UserAdded),
    "user.human.profile.changed": _Known("user", ProfileChanged),
    "user.domain.claimed": _Known("user", DomainClaimed),
    "user.domain.claimed.sent": _Known("user", CodeSent),
    "user.username.changed": _Known("user", UserNameChanged),
    "user.locked": _Known("user", UserStateChanged, {"state": "locked"}),
    "user.unlocked": _Known("user", UserStateChanged, {"state": "active"}),
    "user.deactivated": _Known("user", UserStateChanged, {"state": "deactivated"}),
    "user.reactivated": _Known("user", UserStateChanged, {"state": "active"}),
    "user.removed": _Known("user", UserStateChanged, {"state": "removed"}),
}

_SESSION: dict[str, _Known] = {
    "session.user.checked": _Known("session", SessionUserChecked),
    "session.otp.sms.challenged": _Known("session", CodeAdded),
    "session.otp.sms.sent": _Known("session", CodeSent),
    "session.otp.sms.checked": _Known("session", CodeUsed),
    "session.otp.email.challenged": _Known("session", CodeAdded),
    "session.otp.email.sent": _Known("session", CodeSent),
    "session.otp.email.checked": _Known("session", CodeUsed),
    "session.terminated": _Known("session", SessionTerminated),
}

_ORGANISATION: dict[str, _Known] = {
    "org.added": _Known("organisation", NameSet),
    "org.changed": _Known("organisation", NameSet),
    "org.deactivated": _Known("organisation", OrganisationStateChanged, {"state": "deactivated"}),
    "org.reactivated": _Known("organisation", OrganisationStateChanged, {"state": "active"}),
    "org.removed": _Known("organisation", OrganisationStateChanged, {"state": "removed"}),
    "org.domain.verified": _Known("organisation", DomainAdded),
    "org.domain.primary.set": _Known("organisation", PrimaryDomainSet),
    "org.domain.removed": _Known("organisation", DomainRemoved),
    "org.policy.domain.added": _Known("organisation", DomainPolicySet, absent=_NO_LOGIN_DOMAIN),
    "org.policy.domain.changed": _Known("organisation", DomainPolicySet),
    "org.policy.domain.removed": _Known("organisation", DomainPolicySet, {"removed": True}),
    "org.policy.notification.added": _Known("organisation", NotificationPolicySet, absent=_NO_ANNOUNCEMENT),
    "org.policy.notification.changed": _Known("organisation", NotificationPolicySet),
    "org.policy.notification.removed": _Known("organisation", NotificationPolicySet, {"removed": True}),
}

_INSTANCE: dict[str, _Known] = {
    "instance.added": _Known("instance", NameSet),
    "instance.changed": _Known("instance", NameSet),
    "instance.removed": _Known("instance", OrganisationStateChanged, {"state": "removed"}),
    "instance.domain.added": _Known("instance", DomainAdded),
    "instance.domain.primary.set": _Known("instance", PrimaryDomainSet),
    "instance.domain.removed": _Known("instance", DomainRemoved),
    "instance.policy.domain.added": _Known("instance", DomainPolicySet, absent=_NO_LOGIN_DOMAIN),
    "instance.policy.domain.changed": _Known("instance", DomainPolicySet),
    "instance.policy.notification.added": _Known("instance", NotificationPolicySet, absent=_NO_ANNOUNCEMENT),
    "instance.policy.notification.changed": _Known("instance", NotificationPolicySet),
    "instance.default.language.set": _Known("instance", DefaultLanguageSet),
    "restrictions.set": _Known("instance", AllowedLanguagesSet),
    "feature.instance.login_v2.set": _Known("instance", LoginV2Set),
}

_PROVIDERS = {name: _Known("instance", fact) for name, fact in provider_events.TYPES.items()}
_KNOWN = _USER | _SESSION | _ORGANISATION | _INSTANCE | _PROVIDERS

_SPELLINGS = {
    "url_tmpl": "url_template",
    "return_code": "code_returned",
    "user_resource_owner": "organisation_id",
    "resource_owner": "organisation_id",
    "org_id": "organisation_id",
    "organization_id": "organisation_id",
}
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WHERE = re.compile(r"^(?P<message>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
_MISSING = re.compile(r"missing required field `(\w+)`")


def canonical_type(event_type: str) -> str:
    """Today's name of an event type: the v1 names lack ``human.`` and mean the same."""
    if event_type in _KNOWN or not event_type.startswith("user."):
        return event_type
    humane = f"user.human.{event_type.removeprefix('user.')}"
    # The v1 name of the password event exists but never triggered a message; it still tells the state.
    return humane if humane in _KNOWN else event_type


def types_of(facts: Collection[type[Fact]]) -> list[str]:
    """Every name, the v1 names among them, under which one of these facts is told."""
    names = [name for name, known in _KNOWN.items() if known.fact in facts]
    old = [name.replace("user.human.", "user.", 1) for name in names]
    return names + [name for name in old if name not in _KNOWN]


def expected_kind(event_type: str) -> str | None:
    """The kind of subject a known type belongs to (user, session, …); None when it is unknown."""
    known = _KNOWN.get(canonical_type(event_type))
    return known.kind if known else None


def interpret(event_type: str, payload: Mapping[str, Any]) -> Fact | None:
    """The fact an event states, None when its type is unknown to us.

    Raises InvalidData with a pointer below the payload, such as ``/code``.
    """
    known = _KNOWN.get(canonical_type(event_type))
    if known is None:
        return None
    fields, spelled = _canonical_fields(payload, known.id_means)
    if known.fact is CodeAdded:
        _seconds(fields)
    if known.fact in (UserNameChanged, DomainClaimed) and not fields.get("user_name"):
        raise InvalidData("/user_name", "is required")
    try:
        return msgspec.convert(known.absent | fields | known.fixed, known.fact)
    except msgspec.ValidationError as error:
        raise _located(error, spelled) from None


def _canonical_fields(payload: Mapping[str, Any], id_means: str) -> tuple[dict[str, Any], dict[str, str]]:
    fields: dict[str, Any] = {}
    spelled: dict[str, str] = {}
    for given, value in payload.items():
        name = _canonical_name(given)
        if name == "id" and id_means:
            name = id_means
        if name in spelled:
            raise InvalidData(pointer_to(given), f"is given twice, as {spelled[name]!r} too")
        if value is not None:
            fields[name], spelled[name] = value, given
    return fields, spelled


@lru_cache(maxsize=1000)
def _canonical_name(given: str) -> str:
    name = _HUMP.sub("_", given).lower()
    return _SPELLINGS.get(name, name)


def _seconds(fields: dict[str, Any]) -> None:
    expiry = fields.get("expiry")
    if isinstance(expiry, int) and not isinstance(expiry, bool) and expiry >= NANOSECONDS_FROM:
        fields["expiry"] = expiry // 10**9


def _located(error: msgspec.ValidationError, spelled: Mapping[str, str]) -> InvalidData:
    found = _WHERE.match(str(error))
    assert found
    message, path = found["message"], found["path"] or ""
    missing = _MISSING.search(message)
    steps = [name or index for name, index in _STEP.findall(path)]
    if steps:
        steps[0] = spelled.get(steps[0], steps[0])
    if missing:
        return InvalidData(pointer_to(*steps, missing[1]), "is required")
    return InvalidData(pointer_to(*steps), message)


def pointer_to(*steps: str) -> str:
    """The RFC 6901 JSON pointer that takes these steps."""
    return "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in steps)
