"""The policies: from a source event that pulls a trigger to one request or one decline."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypeAlias

import msgspec

from notification_domain.notification_events import (
    NotificationDeclined,
    NotificationRequested,
    Reason,
    Source,
)
from notification_domain.recipients import Instance, Organisation, Session, User
from notification_domain.source_events import CodeAdded, CodeSent, CodeUsed, DomainClaimed, Fact
from notification_domain.triggers import Category, Trigger

Decision: TypeAlias = NotificationRequested | NotificationDeclined

PRIORITIES = {Category.CODE: 0, Category.NOTICE: 1, Category.INVITATION: 2}
"""Lower goes first: somebody is waiting for a code."""


class Deployment(msgspec.Struct, frozen=True):
    """What the deployment adds to every decision."""

    external_scheme: str = "https"
    external_port: int = 443
    max_ttl: timedelta | None = None
    """Longest time from decision to giving up; None: the code's own expiry, else ``default_ttl``."""
    default_ttl: timedelta = timedelta(hours=72)


class Occasion(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A trigger that was pulled, with all that is known at that moment."""

    trigger: Trigger
    source: Source
    fact: Fact
    happened_at: datetime
    """The earlier of the event's own time and the moment of recording."""
    now: datetime
    position_seen: int
    later: tuple[tuple[str, Fact | None], ...] = ()
    """Newer events of the same stream already seen, as (canonical type, fact)."""
    user: User = User()
    session: Session = Session()
    organisation: Organisation = Organisation()
    instance: Instance = Instance()


def react(occasion: Occasion, deployment: Deployment) -> Decision:
    """The one decision a rule reaches on one event."""
    reason = _reason_to_decline(occasion)
    return _request(occasion, deployment) if reason is None else _decline(occasion, reason)


def obstacle(
    trigger: Trigger, cause_version: int, code_id: str, later: tuple[tuple[str, Fact | None], ...]
) -> Reason | None:
    """What newer events of the source stream hold against a message, the first that does.

    A sent event that names its cause speaks for that cause alone; without one it speaks for all before it.
    """
    for event_type, fact in later:
        if trigger.per_code_id and not _is_about(fact, code_id):
            continue
        if event_type in trigger.used_by:
            return Reason.CODE_USED
        if event_type in trigger.superseded_by:
            return Reason.SUPERSEDED
        if event_type == trigger.sent_type and _speaks_for(fact, cause_version):
            return Reason.SUPERSEDED
    return None


def _is_about(fact: Fact | None, code_id: str) -> bool:
    """What nobody can read may be about another code: its stream is frozen, and what came from it waits."""
    return isinstance(fact, CodeSent | CodeUsed) and fact.code_id == code_id


def user_obstacle(trigger: Trigger, state: str) -> Reason | None:
    """Notices reach everyone who still exists; codes and invitations only the active."""
    if state == "removed" or (state != "active" and trigger.category is not Category.NOTICE):
        return Reason.USER_INACTIVE
    return None


def removal_obstacle(*states: str) -> Reason | None:
    """Nobody writes in the name of an organisation or an instance that is gone."""
    return Reason.USER_INACTIVE if "removed" in states else None


def _speaks_for(fact: Fact | None, version: int) -> bool:
    return not isinstance(fact, CodeSent) or fact.cause is None or fact.cause.version == version


def _reason_to_decline(occasion: Occasion) -> Reason | None:
    fact, trigger = occasion.fact, occasion.trigger
    if isinstance(fact, CodeAdded) and fact.code_returned:
        return Reason.CODE_RETURNED
    if trigger.message_type == "PasswordChange" and not _announces_password_change(occasion):
        return Reason.POLICY_OFF
    code_expiry = _code_expiry(occasion)
    if code_expiry is not None and code_expiry <= occasion.now:
        return Reason.EXPIRED
    removed = removal_obstacle(occasion.organisation.state, occasion.instance.state)
    inactive = removed or user_obstacle(trigger, occasion.user.state)
    return inactive or obstacle(trigger, occasion.source.version, _code_id(fact), occasion.later)


def _announces_password_change(occasion: Occasion) -> bool:
    of_organisation = occasion.organisation.password_change
    return occasion.instance.password_change if of_organisation is None else of_organisation


def _decline(occasion: Occasion, reason: Reason) -> NotificationDeclined:
    user_id, organisation_id = _whom(occasion)
    return NotificationDeclined(
        rule=occasion.trigger.rule,
        message_type=occasion.trigger.message_type,
        channel=_channel(occasion),
        source=occasion.source,
        reason=reason,
        user_id=user_id,
        organisation_id=organisation_id,
        decided_at=occasion.now,
        position_seen=occasion.position_seen,
    )


def _request(occasion: Occasion, deployment: Deployment) -> NotificationRequested:
    trigger, fact = occasion.trigger, occasion.fact
    user_id, organisation_id = _whom(occasion)
    code_expiry = _code_expiry(occasion)
    origin = _origin(occasion, deployment)
    return NotificationRequested(
        rule=trigger.rule,
        message_type=trigger.message_type,
        channel=_channel(occasion),
        source=occasion.source,
        user_id=user_id,
        organisation_id=organisation_id,
        arguments=_arguments(occasion, origin),
        origin=origin,
        url_template=fact.url_template if isinstance(fact, CodeAdded | DomainClaimed) else "",
        secret=fact.code if isinstance(fact, CodeAdded) else "",
        generator_id=fact.generator_id if isinstance(fact, CodeAdded) else "",
        verified_only=trigger.verified_only,
        otp=trigger.otp,
        code_expires_at=code_expiry,
        expires_at=_expiry(occasion.now, code_expiry, deployment),
        supersede_key=f"{trigger.rule} {_code_id(fact)}".strip(),
        priority=PRIORITIES[trigger.category],
        decided_at=occasion.now,
        position_seen=occasion.position_seen,
    )


def _whom(occasion: Occasion) -> tuple[str, str]:
    kind, _, subject_id = occasion.source.subject.partition("/")
    fact = occasion.fact
    stated = fact.user_id if isinstance(fact, CodeAdded) else ""
    user_id = subject_id if kind == "user" else (occasion.session.user_id or stated)
    organisation_id = (
        fact.organisation_id or occasion.session.organisation_id or occasion.user.organisation_id
    )
    return user_id, organisation_id


def _channel(occasion: Occasion) -> str:
    if occasion.trigger.channel != "by_type":
        return occasion.trigger.channel
    fact = occasion.fact
    by_sms = isinstance(fact, CodeAdded) and (fact.notification_type == 1 or fact.generator_id != "")
    return "sms" if by_sms else "email"


def _origin(occasion: Occasion, deployment: Deployment) -> str:
    """The event's own origin, else the instance's primary domain with the external scheme and port."""
    stated = getattr(occasion.fact, "trigger_origin", "")
    if stated:
        return str(stated).rstrip("/")
    domain = occasion.instance.primary_domain
    if not domain:
        return ""
    scheme, port = deployment.external_scheme, deployment.external_port
    usual = {"https": 443, "http": 80}.get(scheme) == port
    return f"{scheme}://{domain}" if usual else f"{scheme}://{domain}:{port}"


def _arguments(occasion: Occasion, origin: str) -> dict[str, str]:
    fact, trigger = occasion.fact, occasion.trigger
    host = origin.partition("://")[2].partition("/")[0].partition(":")[0]
    arguments: dict[str, str] = {}
    if trigger.otp or trigger.message_type == "VerifyPhone":
        arguments["Domain"] = host
    if occasion.source.subject.startswith("session/"):
        arguments["SessionID"] = occasion.source.subject.removeprefix("session/")
    if isinstance(fact, DomainClaimed):
        arguments["TempUsername"] = fact.user_name
    if isinstance(fact, CodeAdded):
        arguments |= _code_arguments(fact, trigger)
    return {name: value for name, value in arguments.items() if value}


def _code_arguments(fact: CodeAdded, trigger: Trigger) -> dict[str, str]:
    return {
        "AuthRequestID": fact.auth_request_id,
        "CodeID": fact.code_id,
        "ApplicationName": fact.application_name or _application(trigger),
        "ExpirySeconds": str(fact.expiry) if fact.expiry else "",
    }


def _application(trigger: Trigger) -> str:
    return "Tidings" if trigger.message_type == "InviteUser" else ""


def _code_expiry(occasion: Occasion) -> datetime | None:
    fact = occasion.fact
    if isinstance(fact, CodeAdded) and fact.expiry > 0:
        return occasion.happened_at + timedelta(seconds=fact.expiry)
    return None


def _expiry(now: datetime, code_expiry: datetime | None, deployment: Deployment) -> datetime:
    if deployment.max_ttl is None:
        return code_expiry or now + deployment.default_ttl
    limit = now + deployment.max_ttl
    return min(limit, code_expiry) if code_expiry else limit


def renewed_expiry(request: NotificationRequested, now: datetime, deployment: Deployment) -> datetime:
    """When a new cycle that begins now expires: with its code, else after as long as the first one had."""
    span = request.expires_at - request.decided_at
    longest = span if deployment.max_ttl is None else min(span, deployment.max_ttl)
    limit = now + longest
    return min(limit, request.code_expires_at) if request.code_expires_at else limit


def _code_id(fact: Fact) -> str:
    return fact.code_id if isinstance(fact, CodeAdded) else ""
