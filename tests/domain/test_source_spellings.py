"""How payloads are spelled in the wild, and what is said of those that are wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notification_domain import source_events as e
from notification_domain.source_events import InvalidData, canonical_type, expected_kind, interpret

ADDED = "user.human.email.code.added"
OTP = "user.human.mfa.otp.email.code.added"
PASSKEY = "user.human.passwordless.initialization.code.requested"
CHALLENGED = "session.otp.email.challenged"
SENT = "user.human.email.code.sent"
PASSKEY_USED = "user.human.passwordless.initialization.code.check.succeeded"
ANNOUNCED = "instance.policy.notification.added"
NO_TEXT = "Expected `str`, got `int`"


def code(event_type: str, **payload: Any) -> e.CodeAdded:
    fact = interpret(event_type, payload)
    assert isinstance(fact, e.CodeAdded)
    return fact


def fault(event_type: str, payload: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(InvalidData) as caught:
        interpret(event_type, payload)
    return caught.value.pointer, caught.value.message


@pytest.mark.parametrize(
    ("event_type", "spelled", "value", "field"),
    [
        (ADDED, "code", "123456", "code"),
        (ADDED, "expiry", 300, "expiry"),
        (ADDED, "url_template", "https://a/{{.Code}}", "url_template"),
        ("user.human.invite.code.added", "urlTemplate", "https://a/{{.Code}}", "url_template"),
        (CHALLENGED, "urlTmpl", "https://a/{{.Code}}", "url_template"),
        (ADDED, "code_returned", True, "code_returned"),
        ("user.human.invite.code.added", "codeReturned", True, "code_returned"),
        (CHALLENGED, "returnCode", True, "code_returned"),
        (ADDED, "triggerOrigin", "https://a", "trigger_origin"),
        (ADDED, "trigger_origin", "https://a", "trigger_origin"),
        ("user.human.initialization.code.added", "authRequestID", "ar", "auth_request_id"),
        (ADDED, "auth_request_id", "ar", "auth_request_id"),
        (OTP, "id", "ar", "auth_request_id"),
        ("user.human.mfa.otp.sms.code.added", "id", "ar", "auth_request_id"),
        (PASSKEY, "id", "c-1", "code_id"),
        (PASSKEY, "codeID", "c-1", "code_id"),
        ("user.human.password.code.added", "notificationType", 1, "notification_type"),
        ("user.human.phone.code.added", "generatorId", "g-1", "generator_id"),
        ("user.human.invite.code.added", "applicationName", "Acme", "application_name"),
        (CHALLENGED, "userID", "42", "user_id"),
        (ADDED, "resourceOwner", "acme", "organisation_id"),
        (ADDED, "orgId", "acme", "organisation_id"),
        (ADDED, "organizationId", "acme", "organisation_id"),
        (ADDED, "organisation_id", "acme", "organisation_id"),
    ],
)
def test_every_spelling_is_understood(event_type: str, spelled: str, value: object, field: str) -> None:
    assert getattr(code(event_type, **{spelled: value}), field) == value


@pytest.mark.parametrize(
    ("given_", "seconds"),
    [(0, 0), (300, 300), (10**9 - 1, 10**9 - 1), (10**9, 1), (300 * 10**9, 300), (2**63 - 1, 9223372036)],
)
def test_large_expiries_are_nanoseconds(given_: int, seconds: int) -> None:
    assert code(ADDED, expiry=given_).expiry == seconds


def test_a_field_that_is_null_counts_as_left_out() -> None:
    assert code(ADDED, code=None, expiry=None) == e.CodeAdded()


def test_fields_that_mean_nothing_to_us_are_passed_over() -> None:
    assert code(OTP, id="ar", userAgentID="ua", remoteIP="::1", acceptLanguage="de").auth_request_id == "ar"
    assert code(ADDED, id="something").auth_request_id == ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("user.initialization.code.added", "user.human.initialization.code.added"),
        ("user.email.code.added", ADDED),
        ("user.password.code.added", "user.human.password.code.added"),
        ("user.phone.code.added", "user.human.phone.code.added"),
        ("user.email.code.sent", "user.human.email.code.sent"),
        ("user.added", "user.human.added"),
        ("user.selfregistered", "user.human.selfregistered"),
        ("user.profile.changed", "user.human.profile.changed"),
        ("user.email.changed", "user.human.email.changed"),
        ("user.email.verified", "user.human.email.verified"),
        ("user.phone.changed", "user.human.phone.changed"),
        ("user.phone.verified", "user.human.phone.verified"),
        ("user.phone.removed", "user.human.phone.removed"),
        ("user.initialization.check.succeeded", "user.human.initialization.check.succeeded"),
        ("user.password.changed", "user.human.password.changed"),
    ],
)
def test_the_v1_name_means_what_todays_name_means(old: str, new: str) -> None:
    assert canonical_type(old) == new
    assert expected_kind(old) == "user"


@pytest.mark.parametrize("known", ["user.locked", "user.domain.claimed", "session.terminated", "org.added"])
def test_todays_name_is_its_own(known: str) -> None:
    assert canonical_type(known) == known


@pytest.mark.parametrize("unknown", ["user.token.added", "user.human.locked", "order.placed", "user.", ""])
def test_an_unknown_type_means_nothing(unknown: str) -> None:
    assert canonical_type(unknown) == unknown
    assert expected_kind(unknown) is None
    assert interpret(unknown, {"code": 5, "Code": 6}) is None


@pytest.mark.parametrize(
    ("event_type", "kind"),
    [
        ("user.human.added", "user"),
        ("session.user.checked", "session"),
        ("org.policy.domain.added", "organisation"),
        ("restrictions.set", "instance"),
    ],
)
def test_a_known_type_belongs_to_one_kind_of_subject(event_type: str, kind: str) -> None:
    assert expected_kind(event_type) == kind


@pytest.mark.parametrize(
    ("event_type", "payload", "pointer", "message"),
    [
        (ADDED, {"code": 5}, "/code", NO_TEXT),
        (ADDED, {"code": {"Crypted": "x"}}, "/code", "Expected `str`, got `object`"),
        (ADDED, {"expiry": "5m"}, "/expiry", "Expected `int`, got `str`"),
        (ADDED, {"expiry": True}, "/expiry", "Expected `int`, got `bool`"),
        (ADDED, {"expiry": -1}, "/expiry", "Expected `int` >= 0"),
        (ADDED, {"expiry": 2**63 * 10}, "/expiry", "Expected `int` <= 9223372036"),
        (ADDED, {"triggerOrigin": 1}, "/triggerOrigin", NO_TEXT),
        (ADDED, {"trigger_origin": 1}, "/trigger_origin", NO_TEXT),
        (ADDED, {"urlTmpl": "x" * 4001}, "/urlTmpl", "Expected `str` of length <= 4000"),
        (ADDED, {"notificationType": 2}, "/notificationType", "Expected `int` <= 1"),
        (OTP, {"id": 7}, "/id", NO_TEXT),
        (OTP, {"id": "a", "authRequestID": "b"}, "/authRequestID", "is given twice, as 'id' too"),
        (ADDED, {"a/b~": 1, "A/B~": 2}, "/A~1B~0", "is given twice, as 'a/b~' too"),
        ("user.human.email.changed", {}, "/email", "is required"),
        ("user.human.email.changed", {"email": "x" * 2001}, "/email", "Expected `str` of length <= 2000"),
        ("user.username.changed", {}, "/user_name", "is required"),
        ("user.domain.claimed", {"userName": ""}, "/user_name", "is required"),
        ("user.domain.claimed", {"userName": 5}, "/userName", NO_TEXT),
        ("session.user.checked", {}, "/user_id", "is required"),
        (SENT, {"cause": {}}, "/cause/version", "is required"),
        (SENT, {"cause": {"version": "x"}}, "/cause/version", "Expected `int`, got `str`"),
        ("restrictions.set", {"allowedLanguages": ["en", 3]}, "/allowedLanguages/1", NO_TEXT),
    ],
)  # fmt: skip
def test_the_wrong_field_is_named_as_the_caller_spelled_it(
    event_type: str, payload: dict[str, Any], pointer: str, message: str
) -> None:
    assert fault(event_type, payload) == (pointer, message)


def test_the_fault_reads_as_a_sentence() -> None:
    assert str(InvalidData("/email", "is required")) == "/email: is required"


@pytest.mark.parametrize(
    ("event_type", "payload", "fact"),
    [
        ("user.locked", {}, e.UserStateChanged(state="locked")),
        ("user.unlocked", {}, e.UserStateChanged(state="active")),
        ("user.deactivated", {}, e.UserStateChanged(state="deactivated")),
        ("user.reactivated", {"state": "locked"}, e.UserStateChanged(state="active")),
        ("user.removed", {}, e.UserStateChanged(state="removed")),
        ("org.removed", {}, e.OrganisationStateChanged(state="removed")),
        ("session.terminated", {}, e.SessionTerminated()),
        ("session.user.checked", {"userID": "42", "userResourceOwner": "acme", "preferredLanguage": "de"},
         e.SessionUserChecked(user_id="42", organisation_id="acme", preferred_language="de")),
        (SENT, {"cause": {"version": 7, "notification_id": "n"}},
         e.CodeSent(cause=e.Cause(7, "n"))),
        ("user.human.passwordless.initialization.code.sent", {"id": "c-1"}, e.CodeSent(code_id="c-1")),
        (PASSKEY_USED, {"id": "c-1"}, e.CodeUsed(code_id="c-1")),
        ("org.policy.domain.added", {}, e.DomainPolicySet(user_login_must_be_domain=False)),
        ("org.policy.domain.changed", {}, e.DomainPolicySet()),
        ("org.policy.domain.removed", {}, e.DomainPolicySet(removed=True)),
        (ANNOUNCED, {}, e.NotificationPolicySet(password_change=False)),
        (ANNOUNCED, {"passwordChange": True}, e.NotificationPolicySet(password_change=True)),
        ("instance.policy.notification.changed", {}, e.NotificationPolicySet()),
        ("restrictions.set", {"allowedLanguages": ["en"]}, e.AllowedLanguagesSet(allowed_languages=["en"])),
        ("feature.instance.login_v2.set", {"required": True, "baseURI": "/login"},
         e.LoginV2Set(required=True, base_uri="/login")),
    ],
)  # fmt: skip
def test_state_events_are_understood(event_type: str, payload: dict[str, Any], fact: e.Fact) -> None:
    assert interpret(event_type, payload) == fact


names = st.sampled_from(
    ["code", "expiry", "id", "userName", "email", "cause", "state", "allowedLanguages", "~/"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)


@given(st.sampled_from(sorted(e._KNOWN)), st.dictionaries(names | st.text(max_size=4), values, max_size=4))
def test_any_payload_is_a_fact_or_a_fault_with_a_pointer(event_type: str, payload: dict[str, Any]) -> None:
    try:
        assert interpret(event_type, payload) is not None
    except InvalidData as invalid:
        assert invalid.pointer.startswith("/")  # noqa: PT017  # either is right
