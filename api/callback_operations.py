"""What providers call, as the document shows it."""

from __future__ import annotations

from api import problems
from api.callbacks import MEDIA_TYPE, SIGNATURE
from api.operations import AWAY, Answer, Operation
from event_log.callbacks import TWILIO_PATH

_REFERENCE = {
    "name": "reference",
    "in": "path",
    "required": True,
    "description": "Sealed by us; stands in the StatusCallback of each text message.",
    "schema": {"type": "string"},
}
_SIGNATURE = {
    "name": SIGNATURE,
    "in": "header",
    "required": True,
    "description": "HMAC-SHA1 over the address and the fields, by the auth token of the sending account.",
    "schema": {"type": "string"},
}
_FORM = {
    "type": "object",
    "required": ["MessageStatus"],
    "properties": {
        "MessageStatus": {"type": "string", "description": "One that is not known is passed over."},
        "MessageSid": {"type": "string"},
        "ErrorCode": {"type": "string"},
    },
    "additionalProperties": True,
}

TWILIO = Operation(
    method="post",
    path=f"{TWILIO_PATH}{{reference}}",
    tag="Callbacks",
    summary="Report on a text message",
    description=(
        "For Twilio alone. What it reports becomes feedback on the notification, once for each status and "
        "error, in any order; where the outcome is open, it ends the doubt."
    ),
    parameters=(_REFERENCE, _SIGNATURE),
    request_body={
        "required": True,
        "content": {
            MEDIA_TYPE: {
                "schema": _FORM,
                "example": {"MessageSid": "SM0123", "MessageStatus": "undelivered", "ErrorCode": "30005"},
            }
        },
    },
    answers={204: Answer("It was taken in.", media_type="")},
    problems=(
        problems.MALFORMED,
        problems.FORGED,
        problems.NOT_FOUND,
        problems.TOO_SLOW,
        problems.TOO_LARGE,
        problems.UNSUPPORTED_MEDIA_TYPE,
        *AWAY,
    ),
)

OPERATIONS = (TWILIO,)
