"""The variables a text or link may name, and their values for one message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from workers.rendering.errors import TemplateError

VARIABLES = frozenset(
    {
        "UserID", "OrgID", "UserName", "FirstName", "LastName", "NickName", "DisplayName",
        "LastEmail", "VerifiedEmail", "LastPhone", "VerifiedPhone",
        "PreferredLoginName", "LoginName", "LoginNames", "ChangeDate", "CreationDate",
        "Code", "OTP", "PasswordSet",
        "Origin", "Domain", "Expiry", "TempUsername", "ApplicationName",
        "CodeID", "SessionID", "AuthRequestID",
    }
)  # fmt: skip
TEXT_VARIABLES = VARIABLES | {"URL"}
"""A text may also show the finished link; a link cannot name itself."""

_INDISPENSABLE = frozenset({"Code", "OTP", "Origin", "URL"})
"""Without these a message that names them is worthless; any other missing value is left blank."""

_TWINS = (("PreferredLoginName", "LoginName"), ("Code", "OTP"))

# Marks that reorder what follows: a name must not rewrite the sentence around it.
_REORDERING = re.compile("[\u202a-\u202e\u2066-\u2069]")
_BREAKING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SURROGATE = re.compile("[\ud800-\udfff]")


def value_of(name: str, arguments: Mapping[str, str]) -> str:
    """The value as it came; raises TemplateError where the message is worthless without it."""
    value = arguments.get(name, "")
    if not value and name in _INDISPENSABLE:
        raise TemplateError(f"the text or link needs {name}, and there is none")
    return value


def shown(value: str) -> str:
    """The value as one line of plain text: no control, line-breaking or reordering characters."""
    if value.isprintable():
        return value
    return _SURROGATE.sub("\ufffd", _REORDERING.sub("", _BREAKING.sub(" ", value)))


def is_present(name: str, arguments: Mapping[str, str]) -> bool:
    return bool(shown(arguments.get(name, "")).strip())


def completed(message_type: str, arguments: Mapping[str, str]) -> dict[str, str]:
    """The arguments with those that follow from others: twins of the same value, and the domain."""
    known = dict(arguments)
    for one, other in _TWINS:
        known[one] = known[other] = known.get(one) or known.get(other, "")
    if not known.get("Domain"):
        known["Domain"] = _domain(message_type, known)
    return known


def _domain(message_type: str, known: Mapping[str, str]) -> str:
    if message_type == "DomainClaimed":
        return known.get("LastEmail", "").rpartition("@")[2]
    return _host(known.get("Origin", ""))


@lru_cache(maxsize=1024)
def _host(origin: str) -> str:
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""
