"""Setting up SMS providers, as the document shows it."""

from __future__ import annotations

from typing import Any

from api import problems
from api.answers import NewSmsProvider, SmsProviders
from api.command_body import MEDIA_TYPE
from api.operations import AWAY, KEY, Answer, Operation
from api.provider_body import KINDS

_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
_BODY = (
    problems.MALFORMED,
    problems.TOO_SLOW,
    problems.TOO_LARGE,
    problems.UNSUPPORTED_MEDIA_TYPE,
    problems.INVALID_COMMAND,
)
_TEXT = {"type": "string"}
_SETTINGS = {
    "description": _TEXT,
    "sid": _TEXT | {"description": "Twilio: the account SID."},
    "sender_number": _TEXT | {"description": "Twilio: the number texts come from."},
    "verify_service_sid": _TEXT | {"description": "Twilio: the Verify service that makes codes itself."},
    "endpoint": _TEXT | {"description": "http: where each message is posted to."},
}
_TWILIO: dict[str, Any] = {
    "id": "main",
    "kind": "twilio",
    "description": "Main account",
    "active": True,
    "missing": [],
    "settings": {"sid": "AC0123", "sender_number": "+15005550006", "verify_service_sid": ""},
    "paused": None,
}
_PAUSED = _TWILIO | {
    "paused": {"until": "2026-11-20T10:00:15Z", "faults": 1, "error": "401 20003 Authenticate"}
}
_CHANGED = {200: Answer("It is so now.", NewSmsProvider, {"provider": _TWILIO, "signing_key": None})}


def _body(example: dict[str, Any], required: tuple[str, ...], **properties: Any) -> dict[str, Any]:  # noqa: ANN401  # schemas
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
    return {"required": True, "content": {MEDIA_TYPE: {"schema": schema, "example": example}}}


LIST_PROVIDERS = Operation(
    method="get",
    path="/v1/providers/sms",
    tag="Providers",
    summary="List SMS providers",
    description=(
        "Of the key's instance, with what each lacks and whether its account is paused. Tokens and signing "
        "keys are never shown. Without an active one the deployment's own account serves the instance."
    ),
    scope="admin",
    answers={200: Answer("All that are stored.", SmsProviders, {"items": [_PAUSED], "unreadable": None})},
    problems=(problems.UNKNOWN_PARAMETER, *KEY, *AWAY),
)
ADD_PROVIDER = Operation(
    method="post",
    path="/v1/providers/sms",
    tag="Providers",
    summary="Add an SMS provider",
    description=(
        "It is stored, not yet active. For an HTTP endpoint a signing key is made and shown once: each "
        "request carries `ZITADEL-Signature: t=SECONDS,v1=HEX`, HMAC-SHA256 over seconds, dot and body."
    ),
    scope="admin",
    request_body=_body(
        {"kind": "twilio", "id": "main", "sid": "AC0123", "token": "…", "sender_number": "+15005550006"},
        ("kind",),
        kind={"type": "string", "enum": list(KINDS)},
        id=_TEXT | {"description": "A name of your own; one is made if it is left out."},
        token=_TEXT | {"description": "Twilio: the auth token; kept encrypted, outside the log."},
        **_SETTINGS,
    ),
    answers={201: Answer("It is stored.", NewSmsProvider, {"provider": _TWILIO, "signing_key": None})},
    problems=(*_BODY, *KEY, problems.PROVIDER_EXISTS, *AWAY),
)
CHANGE_PROVIDER = Operation(
    method="patch",
    path="/v1/providers/sms/{id}",
    tag="Providers",
    summary="Change an SMS provider",
    description="Only what is named changes. What is active stays so.",
    scope="admin",
    parameters=(_ID,),
    request_body=_body({"description": "Main account"}, (), **_SETTINGS),
    answers=_CHANGED,
    problems=(*_BODY, *KEY, problems.NOT_FOUND, *AWAY),
)
RENEW_TOKEN = Operation(
    method="post",
    path="/v1/providers/sms/{id}/token",
    tag="Providers",
    summary="Set a new token, or have a new signing key made",
    description=(
        "For Twilio the body names the token. For an HTTP endpoint it is `{}`: the answer shows the new key "
        "once, and requests carry a signature by the old one too until the key is renewed again."
    ),
    scope="admin",
    parameters=(_ID,),
    request_body=_body({"token": "…"}, (), token=_TEXT),
    answers=_CHANGED,
    problems=(*_BODY, *KEY, problems.NOT_FOUND, *AWAY),
)
ACTIVATE = Operation(
    method="post",
    path="/v1/providers/sms/{id}/activate",
    tag="Providers",
    summary="Activate an SMS provider",
    description=(
        "The instance's text messages leave through it alone from now on. Takes no body. May be repeated."
    ),
    scope="admin",
    parameters=(_ID,),
    answers=_CHANGED,
    problems=(*KEY, problems.NOT_FOUND, problems.PROVIDER_INCOMPLETE, *AWAY),
)
DEACTIVATE = Operation(
    method="post",
    path="/v1/providers/sms/{id}/deactivate",
    tag="Providers",
    summary="Deactivate an SMS provider",
    description="It stays stored. Takes no body. May be repeated.",
    scope="admin",
    parameters=(_ID,),
    answers=_CHANGED,
    problems=(*KEY, problems.NOT_FOUND, *AWAY),
)
REMOVE_PROVIDER = Operation(
    method="delete",
    path="/v1/providers/sms/{id}",
    tag="Providers",
    summary="Remove an SMS provider",
    scope="admin",
    parameters=(_ID,),
    answers={200: Answer("What remains.", SmsProviders, {"items": [], "unreadable": None})},
    problems=(*KEY, problems.NOT_FOUND, *AWAY),
)

OPERATIONS = (
    LIST_PROVIDERS,
    ADD_PROVIDER,
    CHANGE_PROVIDER,
    RENEW_TOKEN,
    ACTIVATE,
    DEACTIVATE,
    REMOVE_PROVIDER,
)
