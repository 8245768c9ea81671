"""From a held notification to a finished message: who, in which words, with which code."""

from __future__ import annotations

from typing import TypeAlias
from uuid import UUID

import msgspec
from msgspec.structs import replace

from notification_domain.notification_events import NotificationRequested, Reason
from notification_domain.recipients import Instance, Organisation, User, language, login_name
from workers.channels.port import Context, Message, TextMessage
from workers.recording import Around, Held
from workers.rendering.durations import format_duration
from workers.rendering.errors import TemplateError
from workers.rendering.layout import template_version
from workers.rendering.mail import Envelope, Sender
from workers.rendering.render import RenderRequest, needs_origin, render
from workers.rendering.texts import text_version
from workers.routes import Route


class Recipient(msgspec.Struct, frozen=True):
    """Whom a notification is for, as known now; ``known`` is False while no event has told of them."""

    known: bool = False
    user_id: str = ""
    """Of the request, or of the session it came from."""
    version: int = 0
    user: User = User()
    organisation: Organisation = Organisation()
    instance: Instance = Instance()
    around: tuple[Around, ...] = ()
    """What is known of the last two, and from which version on it may have changed."""
    damage: str = ""
    """Whose row cannot be read, and what to do about it."""


class Prepared(msgspec.Struct, frozen=True):
    """A message that is ready to be sent, and the way it goes."""

    message: Message
    template_version: str
    text_version: str
    route: Route


class Hindered(msgspec.Struct, frozen=True):
    """Nothing can be sent, for good."""

    reason: Reason
    error: str = ""


class Lacking(msgspec.Struct, frozen=True):
    """Nothing can be sent yet: what is missing may still come."""

    stage: str
    error: str


Preparation: TypeAlias = Prepared | Hindered | Lacking


def prepare_message(held: Held, recipient: Recipient, route: Route, code: str | None) -> Preparation:
    """The message for a held notification; ``code`` is None when its secret is gone."""
    request = held.request
    user = held.progress.recipient or recipient.user
    if not recipient.known and held.progress.recipient is None:
        return Lacking("recipient", "no event has told of this user yet")
    address = address_of(user, request)
    if not address:
        return Hindered(Reason.NO_RECIPIENT, f"the user has no {_wanted(request)}")
    if request.secret and code is None:
        return Hindered(Reason.EXPIRED, "the code is no longer kept")
    if request.generator_id and not request.secret:
        return _verification(held, address, route)
    if not route.texts:
        return Lacking("provider", f"{route.channel.provider} has no sender number for texts of our own")
    return _render(held, recipient, user, address, route, code or "")


def _verification(held: Held, address: str, route: Route) -> Preparation:
    if not route.verifies:
        return Lacking("provider", "no verification service is configured for codes made elsewhere")
    context = Context(_name(held), held.request.source.type)
    return Prepared(TextMessage(address, "", context, verification=True), "", "", route)


def address_of(user: User, request: NotificationRequested) -> str:
    """Where the message goes; codes that prove an address go only to a verified one."""
    if request.channel == "sms":
        return user.verified_phone if request.verified_only else user.last_phone
    return user.verified_email if request.verified_only else user.last_email


def message_id(notification: UUID, cycle: int, sender: Sender) -> str:
    """One Message-ID (RFC 5322) a cycle: the same over all attempts and workers."""
    domain = sender.address.rpartition("@")[2] or "tidings.invalid"
    return f"<{notification}.{cycle}@{domain}>"


def _name(held: Held) -> str:
    return f"{held.notification}.{held.progress.cycle}"


def _render(  # what a message is made of
    held: Held, recipient: Recipient, user: User, address: str, route: Route, code: str
) -> Preparation:
    request = held.request
    given = arguments(request, user, recipient, code)
    spoken = language(user.preferred_language, recipient.instance)
    try:
        if not request.origin and needs_origin(request.message_type, request.channel, request.url_template):
            return Hindered(Reason.NO_ORIGIN, "neither the event nor the instance names an origin")
        message = render(
            RenderRequest(
                message_type=request.message_type,
                channel=request.channel,
                arguments=given,
                url_template=request.url_template,
                language=spoken,
                recipient=address,
            ),
            Envelope(
                message_id=message_id(held.notification, held.progress.cycle, route.sender),
                date=request.decided_at,
                sender=route.sender,
            ),
        )
    except TemplateError as error:
        return Hindered(Reason.TEMPLATE_ERROR, str(error))
    if isinstance(message, TextMessage):
        message = replace(message, context=Context(_name(held), request.source.type, given))
    return Prepared(message, template_version(), text_version(spoken), route)


def arguments(request: NotificationRequested, user: User, recipient: Recipient, code: str) -> dict[str, str]:
    """Every variable a text or link may use, by its name."""
    name = login_name(user, recipient.organisation, recipient.instance)
    given = {
        "UserID": request.user_id,
        "OrgID": request.organisation_id or user.organisation_id,
        "UserName": user.user_name,
        "FirstName": user.first_name,
        "LastName": user.last_name,
        "NickName": user.nick_name,
        "DisplayName": user.display_name or user.user_name,
        "LastEmail": user.last_email,
        "VerifiedEmail": user.verified_email,
        "LastPhone": user.last_phone,
        "VerifiedPhone": user.verified_phone,
        "PreferredLoginName": name,
        "LoginName": name,
        "LoginNames": name,
        "PasswordSet": "true" if user.password_set else "false",
        "Code": code,
        "OTP": code if request.otp else "",
        "Origin": request.origin,
    }
    own = {key: value for key, value in request.arguments.items() if key != "ExpirySeconds"}
    if "ExpirySeconds" in request.arguments:
        own["Expiry"] = format_duration(int(request.arguments["ExpirySeconds"]))
    return given | own


def _wanted(request: NotificationRequested) -> str:
    what = "phone number" if request.channel == "sms" else "e-mail address"
    return f"verified {what}" if request.verified_only else what
