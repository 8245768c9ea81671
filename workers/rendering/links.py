"""The link of a message: the source event's own template, or the login page for its message type."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from workers.rendering.errors import TemplateError
from workers.rendering.placeholders import Slot, parse, slot_names
from workers.rendering.variables import VARIABLES, value_of

_LOGIN = "{{.Origin}}/ui/login"
_USER = "userID={{.UserID}}"
_REQUEST = "orgID={{.OrgID}}&authRequestID={{.AuthRequestID}}"

_DEFAULT_LINKS = {
    "InitCode": f"{_LOGIN}/user/init?{_USER}&loginname={{{{.LoginName}}}}&code={{{{.Code}}}}"
    "&orgID={{.OrgID}}&passwordset={{.PasswordSet}}&authRequestID={{.AuthRequestID}}",
    "VerifyEmail": f"{_LOGIN}/mail/verification?{_USER}&code={{{{.Code}}}}&{_REQUEST}",
    "PasswordReset": f"{_LOGIN}/password/init?{_USER}&code={{{{.Code}}}}&{_REQUEST}",
    "VerifyEmailOTP": f"{_LOGIN}/mfa/otp/verify?authRequestID={{{{.AuthRequestID}}}}"
    "&code={{.Code}}&selectedProvider=4",
    "DomainClaimed": f"{_LOGIN}/login?orgID={{{{.OrgID}}}}",
    "PasswordlessRegistration": f"{_LOGIN}/login/passwordless/init?{_USER}&orgID={{{{.OrgID}}}}"
    "&codeID={{.CodeID}}&code={{.Code}}",
    "PasswordChange": "{{.Origin}}/ui/console?login_hint={{.PreferredLoginName}}",
    "InviteUser": f"{_LOGIN}/user/invite?{_USER}&loginname={{{{.LoginName}}}}&code={{{{.Code}}}}&{_REQUEST}",
}
_SESSION_OTP_LINK = "{{.Origin}}/otp/verify?loginName={{.LoginName}}&code={{.Code}}"

_LEADING_ORIGIN = (Slot("Origin"),)
"""Only an origin at the very start brings a scheme and slashes along."""

_ORIGIN = re.compile(
    r"https?://[^\s/?#@\\<>\"\x00-\x20\x7f]+(?:/[^\s?#@\\<>\"\x00-\x20\x7f]*)?", re.IGNORECASE
)
_LINK = re.compile(
    r"https?://[^\s/?#@\\<>\"\x00-\x20\x7f]+(?:[/?#][^\s\\<>\"\x00-\x20\x7f]*)?", re.IGNORECASE
)

_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]*")
"""What stands in a link as it is (RFC 3986, section 2.3): most values do."""


def default_template(message_type: str, arguments: Mapping[str, str]) -> str:
    """A one-time code asked for by a session is answered on that session's page, any other in the login."""
    if message_type == "VerifyEmailOTP" and arguments.get("SessionID"):
        return _SESSION_OTP_LINK
    if (template := _DEFAULT_LINKS.get(message_type)) is None:
        raise TemplateError(f"{message_type} has no link")
    return template


def finished_link(template: str, arguments: Mapping[str, str]) -> str:
    """The link with every value URL-encoded; raises TemplateError unless it is http or https."""
    parts = parse(template, VARIABLES)
    pieces = [part if isinstance(part, str) else _encoded(part.name, arguments) for part in parts]
    if parts[:1] == _LEADING_ORIGIN:
        pieces[0] = _origin(arguments)
    link = "".join(pieces)
    if not _LINK.fullmatch(link):
        raise TemplateError("the link is not an http or https address")
    return link


def link_names(template: str) -> tuple[str, ...]:
    return slot_names(parse(template, VARIABLES))


def _encoded(name: str, arguments: Mapping[str, str]) -> str:
    value = value_of(name, arguments)
    if _UNRESERVED.fullmatch(value):
        return value
    # A domain may carry a port.
    return quote(value, ":" if name == "Domain" else "", errors="replace")


def _origin(arguments: Mapping[str, str]) -> str:
    origin = value_of("Origin", arguments)
    if not _ORIGIN.fullmatch(origin):
        raise TemplateError("Origin is not an http or https address")
    return origin.rstrip("/")
