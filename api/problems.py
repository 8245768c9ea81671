"""Every answer that is not a success, as an RFC 9457 problem document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class Kind(msgspec.Struct, frozen=True):
    """A sort of problem: its status, and the page that its ``type`` leads to."""

    name: str
    status: int
    title: str
    meaning: str


class Fault(msgspec.Struct, frozen=True):
    """One thing wrong with a request; ``pointer`` (RFC 6901) leads to it in the body."""

    pointer: str
    detail: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What the client is told; more members may follow, by kind of problem."""

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[Fault, ...] = ()


class Refused(Exception):
    """A request ends here with a problem."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        faults: Sequence[Fault] = (),
        *,
        members: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.faults = tuple(faults)
        self.members = dict(members or {})
        self.headers = dict(headers or {})


def _kind(name: str, status: int, title: str, meaning: str) -> Kind:
    return Kind(name, status, title, meaning)


MALFORMED = _kind(
    "malformed-json",
    400,
    "The body is not JSON as we take it",
    "The body must be UTF-8 JSON without repeated names, NaN, NUL characters or lone surrogates, "
    "and within the limits of depth and size that the documentation names.",
)
UNKNOWN_PARAMETER = _kind(
    "unknown-parameter",
    400,
    "A parameter is not known",
    "A misspelt filter would silently show too much, so unknown parameters are refused.",
)
INVALID_PARAMETER = _kind(
    "invalid-parameter",
    400,
    "A parameter has a value it cannot have",
    "The detail names the parameter and what it takes.",
)
INVALID_CURSOR = _kind(
    "invalid-cursor",
    400,
    "The cursor belongs to no such list",
    "A cursor continues the list it came with: the same filters, the same key's instance, unaltered.",
)
UNAUTHENTICATED = _kind(
    "unauthenticated",
    401,
    "A valid API key is needed",
    "Send `Authorization: Bearer KEY` with a key that exists and is not revoked.",
)
MISSING_SCOPE = _kind(
    "missing-scope",
    403,
    "The API key lacks a scope",
    "The key is valid, but was not given the scope that the detail names.",
)
FORGED = _kind(
    "forged",
    403,
    "The signature is not right",
    "A callback is signed by the account that sent the message, for the address it was given.",
)
NOT_FOUND = _kind(
    "not-found", 404, "There is no such thing here", "Nothing of your instance has this address."
)
METHOD_NOT_ALLOWED = _kind(
    "method-not-allowed", 405, "The method does not apply here", "The Allow header lists the methods that do."
)
TOO_SLOW = _kind(
    "too-slow", 408, "The body came too slowly", "Send the whole body within the time that the detail names."
)
VERSION_CONFLICT = _kind(
    "version-conflict",
    409,
    "The subject has moved on",
    "`tidingsexpectedversion` is not the subject's current version, which `current_version` gives.",
)
ALREADY_HANDED_OVER = _kind(
    "already-handed-over",
    409,
    "The message has left already",
    "What is in transmission or sent cannot be called back. `state` says which, `position` where the log "
    "says so.",
)
NEVER_REQUESTED = _kind(
    "never-requested",
    409,
    "There never was a message",
    "The notification was declined: the decision says why, and nothing of it can be cancelled or sent.",
)
STILL_OPEN = _kind(
    "still-open",
    409,
    "The notification is still open",
    "Only what was sent or cancelled can be sent again. `state` says how far it has come.",
)
CODE_GONE = _kind(
    "code-gone",
    409,
    "Its code is gone",
    "A code is removed when its message is closed or it expires: have a new one made and append that event.",
)
EXPIRED = _kind(
    "expired", 409, "Its time is over", "It cannot be tried again: resolve it as sent or as cancelled."
)
NOT_PARKED = _kind(
    "not-parked",
    409,
    "There is no doubt to resolve",
    "Only a parked notification can be resolved. `state` says how far it has come.",
)
PROVIDER_EXISTS = _kind(
    "provider-exists", 409, "There is such a provider already", "Give a new provider a new id."
)
PROVIDER_INCOMPLETE = _kind(
    "provider-incomplete",
    409,
    "A part of the provider is missing",
    "`missing` names each part without which nothing can leave through it; set them first.",
)
UNREADABLE = _kind(
    "unreadable",
    409,
    "The notification cannot be read",
    "Its events are damaged, or were written by a newer version than the one that was asked.",
)
TOO_LARGE = _kind(
    "too-large",
    413,
    "The body is too large",
    "An event, a batch or its count is over the limit; `limit` and `actual` give both numbers.",
)
UNSUPPORTED_MEDIA_TYPE = _kind(
    "unsupported-media-type",
    415,
    "The content type is not taken here",
    "Events come as application/cloudevents+json or application/cloudevents-batch+json, commands as "
    "application/json, uncompressed.",
)
INVALID_EVENT = _kind(
    "invalid-event",
    422,
    "An event is not as its type asks for",
    "Each entry of `errors` points at a member and says what is wrong; nothing of the request was stored.",
)
EVENT_CHANGED = _kind(
    "event-changed",
    422,
    "An event with this source and id has another body",
    "The same source and id mean the same event for ever; give a new event a new id.",
)
INVALID_COMMAND = _kind(
    "invalid-command",
    422,
    "A command is not as it must be",
    "Each entry of `errors` points at a member and says what is wrong; nothing was changed.",
)
KEY_REUSED = _kind(
    "idempotency-key-reused",
    422,
    "The idempotency key was used for another request",
    "The same key means the same request for ever; give a new request a new key.",
)
OVERLOADED = _kind(
    "overloaded",
    429,
    "Too much is waiting",
    "Nothing was stored; try again after the seconds that Retry-After gives.",
)
INTERNAL_ERROR = _kind(
    "internal-error",
    500,
    "Something is wrong on our side",
    "The fault is logged. An event sent again with the same source and id is never stored twice.",
)
LOG_UNAVAILABLE = _kind(
    "log-unavailable",
    503,
    "The log is away for the moment",
    "Whether an event was stored may be unknown; send it again with the same source and id.",
)
NOT_READY = _kind("not-ready", 503, "Not ready to serve", "The detail says what is missing.")
PROJECTION_BEHIND = _kind(
    "projection-behind",
    503,
    "The history has not come that far yet",
    "`position` gives how far it has come; try again after the seconds that Retry-After gives.",
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in list(vars().values()) if isinstance(kind, Kind)}


def problem(kind: Kind, detail: str, faults: Sequence[Fault] = ()) -> Problem:
    return Problem(
        type=f"/problems/{kind.name}",
        title=kind.title,
        status=kind.status,
        detail=detail,
        errors=tuple(faults),
    )


def response(refused: Refused) -> Response:
    told = problem(refused.kind, refused.detail, refused.faults)
    body = msgspec.to_builtins(told) | refused.members
    return Response(msgspec.json.encode(body), refused.kind.status, refused.headers, media_type=MEDIA_TYPE)
