"""Who a message goes to and how to address them: folds over user, session, organisation and instance events.

Each state is a plain value that says what is known now; ``evolve`` is total, so a fact of another
kind of subject changes nothing.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar, assert_never, get_args

import msgspec
from msgspec.structs import replace

from notification_domain import source_events as e
from notification_domain.provider_events import ProviderFact

T = TypeVar("T")


class User(msgspec.Struct, frozen=True, gc=False):
    user_name: str = ""
    first_name: str = ""
    last_name: str = ""
    nick_name: str = ""
    display_name: str = ""
    preferred_language: str = ""
    last_email: str = ""
    verified_email: str = ""
    last_phone: str = ""
    verified_phone: str = ""
    password_set: bool = False
    state: str = "active"
    """active, locked, deactivated or removed."""
    organisation_id: str = ""


class Session(msgspec.Struct, frozen=True, gc=False):
    user_id: str = ""
    organisation_id: str = ""
    preferred_language: str = ""


class Organisation(msgspec.Struct, frozen=True, gc=False):
    name: str = ""
    state: str = "active"
    domains: tuple[str, ...] = ()
    primary_domain: str = ""
    user_login_must_be_domain: bool | None = None
    password_change: bool | None = None
    """Whether a password change is announced; None leaves it to the instance."""


class Instance(msgspec.Struct, frozen=True, gc=False):
    name: str = ""
    state: str = "active"
    domains: tuple[str, ...] = ()
    primary_domain: str = ""
    default_language: str = ""
    allowed_languages: tuple[str, ...] = ()
    user_login_must_be_domain: bool = False
    password_change: bool = True
    login_v2: bool = False
    login_v2_base: str = ""


Subject: TypeAlias = User | Session | Organisation | Instance

KINDS: dict[str, type[Subject]] = {
    "user": User,
    "session": Session,
    "organisation": Organisation,
    "instance": Instance,
}


def initial(subject: str) -> Subject | None:
    """The state before any event of a subject such as ``user/42``; None for kinds we keep nothing of."""
    kind = KINDS.get(subject.partition("/")[0])
    return kind() if kind else None


_TELLS_NOTHING: frozenset[type[e.Fact]] = frozenset({e.CodeSent, *get_args(ProviderFact)})
"""What went out says nothing new of whom it went to: a sent event only repeats what its trigger knew."""
_TELLING = frozenset(get_args(e.Fact)) - _TELLS_NOTHING


def tells(fact: e.Fact) -> bool:
    """Whether it may change what is known of anybody."""
    return type(fact) in _TELLING


def types_that_tell() -> list[str]:
    """The event types, by all their names, whose facts may."""
    return e.types_of(_TELLING)


def evolve(state: Subject, fact: e.Fact) -> Subject:
    if not tells(fact):
        return state
    match state:
        case User():
            return _user(state, fact)
        case Session():
            return _session(state, fact)
        case Organisation():
            return _organisation(state, fact)
        case Instance():
            return _instance(state, fact)
        case _:
            assert_never(state)


def login_name(user: User, organisation: Organisation, instance: Instance) -> str:
    """The preferred login name: the user name, with the primary domain where policy asks for it."""
    must = organisation.user_login_must_be_domain
    must = instance.user_login_must_be_domain if must is None else must
    if must and organisation.primary_domain and user.user_name:
        return f"{user.user_name}@{organisation.primary_domain}"
    return user.user_name


def language(preferred: str, instance: Instance, fallback: str = "en") -> str:
    """Preferred language with its region, then without, then the instance's default; only allowed ones."""
    allowed = instance.allowed_languages
    for candidate in (preferred, preferred.partition("-")[0], instance.default_language):
        if candidate and (not allowed or candidate in allowed):
            return candidate
    return fallback


def _user(user: User, fact: e.Fact) -> User:
    if fact.organisation_id and fact.organisation_id != user.organisation_id:
        user = replace(user, organisation_id=fact.organisation_id)
    match fact:
        case e.UserAdded():
            return _added(user, fact)
        case e.ProfileChanged():
            return replace(user, **_given(fact))
        case e.UserNameChanged() | e.DomainClaimed():
            return replace(user, user_name=fact.user_name)
        case e.PasswordChanged():
            return replace(user, password_set=True)
        case e.UserStateChanged():
            return user if user.state == "removed" else replace(user, state=fact.state)
        case _:
            return _addresses(user, fact)


def _added(user: User, fact: e.UserAdded) -> User:
    return replace(
        user,
        user_name=fact.user_name,
        first_name=fact.first_name,
        last_name=fact.last_name,
        nick_name=fact.nick_name,
        display_name=fact.display_name or f"{fact.first_name} {fact.last_name}".strip(),
        preferred_language=fact.preferred_language,
        last_email=fact.email,
        last_phone=fact.phone,
        password_set=fact.password_set,
    )


def _given(fact: e.ProfileChanged) -> dict[str, str]:
    fields = ("first_name", "last_name", "nick_name", "display_name", "preferred_language")
    return {name: value for name in fields if (value := getattr(fact, name)) is not None}


def _addresses(user: User, fact: e.Fact) -> User:
    match fact:
        case e.EmailChanged():
            return replace(user, last_email=fact.email)
        case e.EmailVerified():
            return replace(user, verified_email=user.last_email)
        case e.PhoneChanged():
            return replace(user, last_phone=fact.phone)
        case e.PhoneVerified():
            return replace(user, verified_phone=user.last_phone)
        case e.PhoneRemoved():
            return replace(user, last_phone="", verified_phone="")
        case _:
            return user


def _session(session: Session, fact: e.Fact) -> Session:
    match fact:
        case e.SessionUserChecked():
            return Session(fact.user_id, fact.organisation_id, fact.preferred_language)
        case _:
            return session


def _organisation(organisation: Organisation, fact: e.Fact) -> Organisation:
    match fact:
        case e.NameSet():
            return replace(organisation, name=fact.name or organisation.name)
        case e.OrganisationStateChanged():
            return replace(organisation, state=fact.state)
        case e.DomainPolicySet():
            known = organisation.user_login_must_be_domain
            must = _newer(fact.user_login_must_be_domain, known)
            return replace(organisation, user_login_must_be_domain=None if fact.removed else must)
        case e.NotificationPolicySet():
            announced = _newer(fact.password_change, organisation.password_change)
            return replace(organisation, password_change=None if fact.removed else announced)
        case e.DomainAdded() | e.PrimaryDomainSet() | e.DomainRemoved():
            domains, primary = _domains(organisation.domains, organisation.primary_domain, fact)
            return replace(organisation, domains=domains, primary_domain=primary)
        case _:
            return organisation


def _instance(instance: Instance, fact: e.Fact) -> Instance:
    match fact:
        case e.NameSet():
            return replace(instance, name=fact.name or instance.name)
        case e.OrganisationStateChanged():
            return replace(instance, state=fact.state)
        case e.DomainAdded() | e.PrimaryDomainSet() | e.DomainRemoved():
            domains, primary = _domains(instance.domains, instance.primary_domain, fact)
            return replace(instance, domains=domains, primary_domain=primary)
        case _:
            return _instance_policy(instance, fact)


def _instance_policy(instance: Instance, fact: e.Fact) -> Instance:
    match fact:
        case e.DefaultLanguageSet():
            return replace(instance, default_language=fact.language)
        case e.AllowedLanguagesSet():
            return replace(
                instance, allowed_languages=tuple(_newer(fact.allowed_languages, instance.allowed_languages))
            )
        case e.DomainPolicySet():
            must = _newer(fact.user_login_must_be_domain, instance.user_login_must_be_domain)
            return replace(instance, user_login_must_be_domain=must)
        case e.NotificationPolicySet():
            announced = _newer(fact.password_change, instance.password_change)
            return replace(instance, password_change=announced)
        case e.LoginV2Set():
            return replace(instance, login_v2=fact.required, login_v2_base=fact.base_uri)
        case _:
            return instance


def _newer(told: T | None, known: T) -> T:
    """What an event tells, or what was known: a changed event names only what it changes."""
    return known if told is None else told


def _domains(
    known: tuple[str, ...], primary: str, fact: e.DomainAdded | e.PrimaryDomainSet | e.DomainRemoved
) -> tuple[tuple[str, ...], str]:
    if isinstance(fact, e.DomainRemoved):
        return tuple(d for d in known if d != fact.domain), "" if primary == fact.domain else primary
    newest = fact.domain if isinstance(fact, e.PrimaryDomainSet) else primary
    return tuple(dict.fromkeys((*known, fact.domain))), newest
