"""What is known of a user, a session, an organisation and an instance after their events."""

from __future__ import annotations

from typing import Any, TypeVar, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notification_domain import provider_events
from notification_domain import source_events as e
from notification_domain.recipients import (
    KINDS,
    Instance,
    Organisation,
    Session,
    Subject,
    User,
    evolve,
    initial,
    language,
    login_name,
    types_that_tell,
)
from notification_domain.source_events import interpret

S = TypeVar("S", bound=Subject)
ADDED: tuple[str, dict[str, Any]] = (
    "user.human.added",
    {
        "userName": "ada",
        "firstName": "Ada",
        "lastName": "Lovelace",
        "nickName": "Countess",
        "preferredLanguage": "de-CH",
        "email": "ada@acme.example",
        "phone": "+41790000001",
        "organisation_id": "acme",
    },
)


def after(start: S, *events: tuple[str, dict[str, Any]] | str) -> S:
    state: Subject = start
    for event in events:
        event_type, payload = (event, {}) if isinstance(event, str) else event
        fact = interpret(event_type, payload)
        assert fact is not None
        state = evolve(state, fact)
    assert isinstance(state, type(start))
    return state


def changed(what: str, **payload: Any) -> tuple[str, dict[str, Any]]:
    return f"user.human.{what}.changed", payload


# --- users ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("event_type", ["user.human.added", "user.human.selfregistered", "user.added"])
def test_a_new_user_has_addresses_but_none_that_is_verified(event_type: str) -> None:
    assert after(User(), (event_type, ADDED[1])) == User(
        user_name="ada",
        first_name="Ada",
        last_name="Lovelace",
        nick_name="Countess",
        display_name="Ada Lovelace",
        preferred_language="de-CH",
        last_email="ada@acme.example",
        last_phone="+41790000001",
        organisation_id="acme",
    )


def test_a_display_name_that_is_given_is_kept() -> None:
    assert (
        after(User(), ("user.human.added", {"displayName": "Lady L", "firstName": "Ada"})).display_name
        == "Lady L"
    )


def test_a_changed_address_leaves_the_verified_one() -> None:
    user = after(User(), ADDED, "user.human.email.verified", changed("email", email="new@acme.example"))
    assert (user.last_email, user.verified_email) == ("new@acme.example", "ada@acme.example")
    assert after(user, "user.human.email.verified").verified_email == "new@acme.example"


def test_a_changed_number_leaves_the_verified_one() -> None:
    user = after(User(), ADDED, "user.human.phone.verified", changed("phone", phone="+41790000002"))
    assert (user.last_phone, user.verified_phone) == ("+41790000002", "+41790000001")
    assert after(user, "user.phone.verified").verified_phone == "+41790000002"


def test_a_removed_number_is_gone_verified_or_not() -> None:
    user = after(User(), ADDED, "user.human.phone.verified", "user.human.phone.removed")
    assert (user.last_phone, user.verified_phone) == ("", "")


def test_a_profile_changes_in_what_is_given() -> None:
    user = after(User(), ADDED, changed("profile", firstName="Augusta", nickName="", preferredLanguage="fr"))
    assert (user.first_name, user.last_name, user.nick_name) == ("Augusta", "Lovelace", "")
    assert user.preferred_language == "fr"


@pytest.mark.parametrize("event_type", ["user.username.changed", "user.domain.claimed"])
def test_a_user_goes_by_the_newest_name(event_type: str) -> None:
    assert after(User(), ADDED, (event_type, {"userName": "ada-2"})).user_name == "ada-2"


@pytest.mark.parametrize("event_type", ["user.human.password.changed", "user.password.changed"])
def test_a_password_is_set_when_it_changed(event_type: str) -> None:
    assert after(User(), ADDED, event_type).password_set


def test_a_password_is_set_when_the_user_came_with_one() -> None:
    assert after(User(), ("user.human.added", {"password_set": True})).password_set


@pytest.mark.parametrize(
    ("events", "state"),
    [
        (("user.locked",), "locked"),
        (("user.locked", "user.unlocked"), "active"),
        (("user.deactivated",), "deactivated"),
        (("user.deactivated", "user.reactivated"), "active"),
        (("user.removed",), "removed"),
        (("user.removed", "user.reactivated"), "removed"),
        (("user.removed", "user.unlocked", "user.locked"), "removed"),
    ],
)
def test_a_user_lives_until_removed(events: tuple[str, ...], state: str) -> None:
    assert after(User(), ADDED, *events).state == state


def test_a_user_belongs_to_the_organisation_named_last() -> None:
    assert after(User(), ADDED, changed("email", email="a@b.c")).organisation_id == "acme"
    assert after(User(), ADDED, ("user.locked", {"orgID": "other"})).organisation_id == "other"


def test_a_user_stays_in_the_organisation_when_a_message_went_out_for_an_earlier_one() -> None:
    user = after(User(), ADDED, changed("email", email="a@b.c", organisation_id="other"))
    assert after(user, ("user.human.email.code.sent", {"organisation_id": "acme"})) == user


# --- sessions -------------------------------------------------------------------------------------


def test_a_session_is_whose_user_was_checked_last() -> None:
    checked = {"userID": "42", "userResourceOwner": "acme", "preferredLanguage": "de"}
    session = after(Session(), "session.terminated", ("session.user.checked", checked))
    assert session == Session("42", "acme", "de")
    assert after(session, ("session.user.checked", {"userID": "43"})) == Session("43")


# --- organisations and instances ------------------------------------------------------------------


@pytest.mark.parametrize(("start", "prefix"), [(Organisation(), "org"), (Instance(), "instance")])
def test_a_name_stands_until_another_is_given(start: Organisation | Instance, prefix: str) -> None:
    named = after(start, (f"{prefix}.added", {"name": "Acme"}), f"{prefix}.changed")
    assert named.name == "Acme"
    assert after(named, (f"{prefix}.changed", {"name": "Acme 2"})).name == "Acme 2"
    assert after(named, f"{prefix}.removed").state == "removed"


def test_an_organisation_rests_and_comes_back() -> None:
    assert after(Organisation(), "org.deactivated").state == "deactivated"
    assert after(Organisation(), "org.deactivated", "org.reactivated").state == "active"


@pytest.mark.parametrize(
    ("start", "prefix", "added"),
    [(Organisation(), "org.domain", "verified"), (Instance(), "instance.domain", "added")],
)
def test_domains_come_and_go(start: Organisation | Instance, prefix: str, added: str) -> None:
    one, two = {"domain": "one.example"}, {"domain": "two.example"}
    known = after(
        start, (f"{prefix}.{added}", one), (f"{prefix}.{added}", one), (f"{prefix}.primary.set", two)
    )
    assert (known.domains, known.primary_domain) == (("one.example", "two.example"), "two.example")
    without = after(known, (f"{prefix}.removed", one))
    assert (without.domains, without.primary_domain) == (("two.example",), "two.example")
    assert after(without, (f"{prefix}.removed", two)).primary_domain == ""


def test_a_policy_of_an_organisation_holds_until_it_is_removed() -> None:
    policy = "org.policy.domain"
    organisation = after(Organisation(), (f"{policy}.added", {"userLoginMustBeDomain": True}))
    assert organisation.user_login_must_be_domain is True
    only_other = (f"{policy}.changed", {"smtpSenderAddressMatchesInstanceDomain": True})
    assert after(organisation, only_other).user_login_must_be_domain is True
    assert after(organisation, f"{policy}.removed").user_login_must_be_domain is None
    # False is left out where a policy is set up; it is a word of the organisation all the same.
    assert after(Organisation(), f"{policy}.added").user_login_must_be_domain is False


def test_an_announcement_policy_of_an_organisation_holds_until_it_is_removed() -> None:
    policy = "org.policy.notification"
    organisation = after(Organisation(), f"{policy}.added")
    assert organisation.password_change is False
    assert after(organisation, (f"{policy}.changed", {"passwordChange": True})).password_change is True
    assert after(organisation, f"{policy}.removed").password_change is None


def test_the_policies_of_an_instance_change_in_what_is_given() -> None:
    policy = "instance.policy"
    strict = after(
        Instance(),
        (f"{policy}.domain.added", {"userLoginMustBeDomain": True}),
        (f"{policy}.domain.changed", {"smtpSenderAddressMatchesInstanceDomain": True}),
        f"{policy}.notification.added",
        f"{policy}.notification.changed",
    )
    assert (strict.user_login_must_be_domain, strict.password_change) == (True, False)
    mild = after(strict, (f"{policy}.domain.changed", {"userLoginMustBeDomain": False}))
    assert mild.user_login_must_be_domain is False


def test_the_languages_and_the_login_of_an_instance_are_those_set_last() -> None:
    instance = after(
        Instance(),
        ("instance.default.language.set", {"language": "de"}),
        ("restrictions.set", {"allowedLanguages": ["de", "fr"]}),
        ("restrictions.set", {"disallowPublicOrgRegistration": True}),
        ("feature.instance.login_v2.set", {"required": True, "baseUri": "/login"}),
    )
    assert (instance.default_language, instance.allowed_languages) == ("de", ("de", "fr"))
    assert (instance.login_v2, instance.login_v2_base) == (True, "/login")
    assert after(instance, ("restrictions.set", {"allowedLanguages": []})).allowed_languages == ()


# --- names and languages --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of_organisation", "of_instance", "domain", "name"),
    [
        (None, False, "acme.example", "ada"),
        (None, True, "acme.example", "ada@acme.example"),
        (False, True, "acme.example", "ada"),
        (True, False, "acme.example", "ada@acme.example"),
        (True, False, "", "ada"),
    ],
)
def test_a_login_name_carries_the_primary_domain_when_it_must(
    of_organisation: bool | None, of_instance: bool, domain: str, name: str
) -> None:
    organisation = Organisation(primary_domain=domain, user_login_must_be_domain=of_organisation)
    assert (
        login_name(User(user_name="ada"), organisation, Instance(user_login_must_be_domain=of_instance))
        == name
    )


def test_there_is_no_login_name_when_there_is_no_user_name() -> None:
    assert (
        login_name(User(), Organisation(primary_domain="a", user_login_must_be_domain=True), Instance()) == ""
    )


@pytest.mark.parametrize(
    ("preferred", "default", "allowed", "spoken"),
    [
        ("de-CH", "fr", (), "de-CH"),
        ("de-CH", "fr", ("de-CH", "de"), "de-CH"),
        ("de-CH", "fr", ("de", "fr"), "de"),
        ("de", "fr", ("fr",), "fr"),
        ("", "fr", (), "fr"),
        ("de", "it", ("fr",), "en"),
        ("", "", (), "en"),
    ],
)
def test_a_language_falls_back_to_one_that_is_allowed(
    preferred: str, default: str, allowed: tuple[str, ...], spoken: str
) -> None:
    assert language(preferred, Instance(default_language=default, allowed_languages=allowed)) == spoken


# --- laws -----------------------------------------------------------------------------------------


def test_a_subject_begins_as_its_kind() -> None:
    assert initial("user/42") == User()
    assert initial("instance") == Instance()
    assert initial("order/7") is None


def test_the_types_that_tell_are_all_but_those_of_sendings_and_providers() -> None:
    telling = set(types_that_tell())
    assert {"user.human.added", "user.added", "user.password.changed", "org.added"} <= telling
    assert not telling & {"user.human.email.code.sent", "user.email.code.sent", "session.otp.sms.sent"}
    assert not telling & set(provider_events.TYPES)
    assert {e.canonical_type(name) for name in telling} <= telling


@given(
    st.sampled_from(sorted(KINDS)),
    st.lists(st.sampled_from(get_args(e.Fact)).flatmap(st.from_type), max_size=5),
)
def test_a_subject_stays_of_its_kind_whatever_it_is_told(kind: str, facts: list[e.Fact]) -> None:
    state = KINDS[kind]()
    for fact in facts:
        state = evolve(state, fact)
    assert type(state) is KINDS[kind]
