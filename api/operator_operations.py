"""What operators can do, as the document shows it: commands, pausing delivery, and the quarantine."""

from __future__ import annotations

from typing import Any

from api import problems
from api.answers import (
    CommandedNotification,
    DeliveryChanged,
    DeliveryStatus,
    QuarantinePage,
    RedrivenStream,
)
from api.command_body import LONGEST_REASON, MEDIA_TYPE, OUTCOMES
from api.history_parameters import CHANNELS
from api.operations import AWAY, ITEM_EXAMPLE, KEY, NOTIFICATION_ID, Answer, Operation

_REASON = {
    "type": "string",
    "minLength": 1,
    "maxLength": LONGEST_REASON,
    "description": "Why; stands in the log with the id of the key.",
}
_OUTCOME = {"type": "string", "enum": list(OUTCOMES), "description": "What the doubt is resolved as."}
_CHANNEL = {"enum": [*CHANNELS, None], "description": "One channel; left out or null: all of them."}
_EVERYWHERE = {
    "type": "boolean",
    "default": False,
    "description": "The whole deployment instead of the key's instance; asks for the scope operate.",
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A new cycle begun under this name before is answered for, not begun again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}
_POSITION = {"name": "position", "in": "path", "required": True, "schema": {"type": "string"}}
_AFTER = {
    "name": "after",
    "in": "query",
    "description": "`next` of the page before.",
    "schema": {"type": "string", "pattern": "^[0-9]+$"},
}
_BODY = (
    problems.MALFORMED,
    problems.TOO_SLOW,
    problems.TOO_LARGE,
    problems.UNSUPPORTED_MEDIA_TYPE,
    problems.INVALID_COMMAND,
)
_WAITING = ITEM_EXAMPLE | {"state": "waiting", "closed_at": None, "reached": "22"}
_CANCELLED = ITEM_EXAMPLE | {"state": "cancelled", "reason": "operator", "attempts": 0, "reached": "19"}
_PAUSE = {
    "instance": None,
    "channel": "email",
    "reason": "the provider is down",
    "by": "Zm9vYmFyYmF6",
    "since": "2026-11-20T10:00:00.021Z",
    "position": "22",
}
_SET_ASIDE = {
    "position": "17",
    "type": "user.human.email.code.added",
    "stream": "0b5c8a9e-9d5c-5d61-9a53-1f0d6a0b4f3e",
    "reason": "Undecodable: user.human.email.code.added: the stored bytes were altered",
    "quarantined_at": "2026-11-20T10:00:00.021Z",
}


def _body(example: dict[str, Any], required: tuple[str, ...], **more: Any) -> dict[str, Any]:  # noqa: ANN401  # schemas
    schema = {
        "type": "object",
        "required": list(required),
        "properties": {"reason": _REASON, **more},
        "additionalProperties": False,
    }
    return {"required": True, "content": {MEDIA_TYPE: {"schema": schema, "example": example}}}


_PLAIN = _body({"reason": "the user called"}, ("reason",))
_SCOPE_OF_PAUSE = _body(
    {"reason": "the provider is down", "channel": "email"},
    ("reason",),
    channel=_CHANNEL,
    everywhere=_EVERYWHERE,
)

CANCEL = Operation(
    method="post",
    path="/v1/notifications/{id}/cancel",
    tag="Commands",
    summary="Cancel a notification",
    description=(
        "Truthfully: 200 when it is cancelled and goes out no more, 409 when it has left already. "
        "May be repeated: what is cancelled stays so."
    ),
    scope="notifications:write",
    parameters=(NOTIFICATION_ID,),
    request_body=_PLAIN,
    answers={200: Answer("It is cancelled.", CommandedNotification, _CANCELLED)},
    problems=(
        *_BODY,
        *KEY,
        problems.NOT_FOUND,
        problems.ALREADY_HANDED_OVER,
        problems.NEVER_REQUESTED,
        problems.UNREADABLE,
        *AWAY,
    ),
)
RESEND = Operation(
    method="post",
    path="/v1/notifications/{id}/resend",
    tag="Commands",
    summary="Send a notification again",
    description=(
        "Begins a new cycle of a notification that was sent or cancelled: attempts are counted anew, and "
        "it has as long as the first time, or until its code expires. While that cycle is open another "
        "request is refused; an Idempotency-Key makes repeating safe for ever."
    ),
    scope="notifications:write",
    parameters=(NOTIFICATION_ID, _IDEMPOTENCY_KEY),
    request_body=_PLAIN,
    answers={201: Answer("A new cycle has begun.", CommandedNotification, _WAITING)},
    problems=(
        *_BODY,
        *KEY,
        problems.NOT_FOUND,
        problems.STILL_OPEN,
        problems.CODE_GONE,
        problems.NEVER_REQUESTED,
        problems.UNREADABLE,
        problems.KEY_REUSED,
        *AWAY,
    ),
)
RESOLVE = Operation(
    method="post",
    path="/v1/notifications/{id}/resolve",
    tag="Commands",
    summary="Resolve a parked notification",
    description=(
        "Ends the doubt: it was sent after all, is tried again within its old expiry, or is given up. "
        "Once resolved it is parked no more, so that a repeated request is refused."
    ),
    scope="notifications:write",
    parameters=(NOTIFICATION_ID, _IDEMPOTENCY_KEY),
    request_body=_body(
        {"reason": "the provider's log shows it", "outcome": "sent"}, ("reason", "outcome"), outcome=_OUTCOME
    ),
    answers={200: Answer("It is resolved.", CommandedNotification, ITEM_EXAMPLE | {"reached": "23"})},
    problems=(
        *_BODY,
        *KEY,
        problems.NOT_FOUND,
        problems.NOT_PARKED,
        problems.EXPIRED,
        problems.CODE_GONE,
        problems.UNREADABLE,
        problems.KEY_REUSED,
        *AWAY,
    ),
)
SHOW_PAUSES = Operation(
    method="get",
    path="/v1/delivery/pause",
    tag="Delivery",
    summary="Show what is paused",
    description="For the key's instance: its own pauses, and those of the whole deployment.",
    scope="notifications:read",
    answers={200: Answer("What holds now.", DeliveryStatus, {"items": [_PAUSE]})},
    problems=(problems.UNKNOWN_PARAMETER, *KEY, *AWAY),
)
PAUSE = Operation(
    method="post",
    path="/v1/delivery/pause",
    tag="Delivery",
    summary="Pause delivery",
    description=(
        "Workers take up nothing of it any more; what they have taken up goes out. Events are taken in and "
        "decided, and expiry runs on. May be repeated: `changed` is false when it was paused already."
    ),
    scope="notifications:write",
    request_body=_SCOPE_OF_PAUSE,
    answers={200: Answer("It is paused.", DeliveryChanged, {"changed": True, "items": [_PAUSE]})},
    problems=(*_BODY, *KEY, *AWAY),
)
RESUME = Operation(
    method="post",
    path="/v1/delivery/resume",
    tag="Delivery",
    summary="Resume delivery",
    description=(
        "Ends the pause of just what is named: a paused channel stays so when all are resumed. "
        "May be repeated."
    ),
    scope="notifications:write",
    request_body=_SCOPE_OF_PAUSE,
    answers={200: Answer("That pause is over.", DeliveryChanged, {"changed": True, "items": []})},
    problems=(*_BODY, *KEY, *AWAY),
)
LIST_QUARANTINE = Operation(
    method="get",
    path="/v1/quarantine",
    tag="Quarantine",
    summary="List events in quarantine",
    description=(
        "Events of the key's instance that could not be digested, and the later ones of their streams."
    ),
    scope="operate",
    parameters=(_AFTER,),
    answers={200: Answer("A page.", QuarantinePage, {"items": [_SET_ASIDE], "next": None})},
    problems=(problems.UNKNOWN_PARAMETER, problems.INVALID_PARAMETER, *KEY, *AWAY),
)
REDRIVE = Operation(
    method="post",
    path="/v1/quarantine/{position}/redrive",
    tag="Quarantine",
    summary="Handle a frozen stream again",
    description=(
        "From its first event in quarantine on, in order, by the handler's own code: what was decided is "
        "not decided again. What still cannot be digested remains, with its new reason. Takes no body."
    ),
    scope="operate",
    parameters=(_POSITION,),
    answers={
        200: Answer("What came of it.", RedrivenStream, {"handled": ["17", "19"], "remaining": []}),
    },
    problems=(*KEY, problems.NOT_FOUND, *AWAY),
)

OPERATIONS = (CANCEL, RESEND, RESOLVE, SHOW_PAUSES, PAUSE, RESUME, LIST_QUARANTINE, REDRIVE)
