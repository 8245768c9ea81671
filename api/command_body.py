"""The body of a command: a small JSON object, each member known and as it must be."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request

from api import strict_json
from api.history_parameters import CHANNELS
from api.problems import INVALID_COMMAND, MALFORMED, UNSUPPORTED_MEDIA_TYPE, Fault, Refused
from api.request_body import read_body
from api.strict_json import Malformed, kind_of, pointer_to

MEDIA_TYPE = "application/json"
LONGEST_REASON = 500
OUTCOMES = ("sent", "retry", "cancelled")
MOST_BYTES = 16 * 1024

_CONTENT_TYPE = re.compile(r'application/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?', re.IGNORECASE)
_IDEMPOTENCY_KEY = re.compile(r'"?([\x21\x23-\x7e]{1,200})"?')


async def read_command(request: Request, seconds: float, *optional: str) -> dict[str, Any]:
    """The members; ``reason`` is always among them, others only if named. Raises Refused."""
    members = await read_object(request, seconds)
    faults = [*unknown(members, {"reason", *optional}), *_wrong(members, {"reason", *optional})]
    refuse_faults(faults)
    return members


def refuse_faults(faults: Sequence[Fault]) -> None:
    """Raises Refused when there are any."""
    if faults:
        raise Refused(INVALID_COMMAND, f"{faults[0].pointer or 'The body'} {faults[0].detail}.", faults)


async def read_object(request: Request, seconds: float) -> dict[str, Any]:
    """The members of a JSON object, whatever they are. Raises Refused."""
    given = request.headers.get("content-type", "")
    if not _CONTENT_TYPE.fullmatch(given.strip()):
        raise Refused(
            UNSUPPORTED_MEDIA_TYPE,
            f"The content type must be {MEDIA_TYPE}, in UTF-8, not {given[:100] or 'absent'}.",
            headers={"Accept-Post": MEDIA_TYPE},
        )
    return _members(await read_body(request, MOST_BYTES, seconds))


def idempotency_key(request: Request) -> str:
    """Empty when there is none."""
    given = request.headers.getlist("idempotency-key")
    matched = _IDEMPOTENCY_KEY.fullmatch(given[0].strip()) if len(given) == 1 else None
    if given and matched is None:
        raise Refused(INVALID_COMMAND, "The Idempotency-Key must be 1 to 200 visible characters, given once.")
    return matched[1] if matched else ""


def _members(body: bytes) -> dict[str, Any]:
    try:
        document = strict_json.read(body)
    except Malformed as error:
        where = error.pointer or "The body"
        raise Refused(MALFORMED, f"{where} {error.detail}.", [Fault(error.pointer, error.detail)]) from None
    if not isinstance(document, dict):
        detail = f"must be an object, not {kind_of(document)}"
        raise Refused(INVALID_COMMAND, f"The body {detail}.", [Fault("", detail)])
    return document


def unknown(members: Mapping[str, Any], known: set[str]) -> list[Fault]:
    return [Fault(pointer_to([name]), "is not known here") for name in members if name not in known]


def _wrong(members: Mapping[str, Any], expected: set[str]) -> list[Fault]:
    faults = {f"/{name}": _CHECKS[name](members.get(name)) for name in sorted(expected)}
    return [Fault(pointer, detail) for pointer, detail in faults.items() if detail]


def _reason(value: object) -> str:
    if value is None:
        return "is required"
    if not isinstance(value, str):
        return f"must be a string, not {kind_of(value)}"
    if not value.strip() or len(value) > LONGEST_REASON or not value.isprintable():
        return f"must be 1 to {LONGEST_REASON} printable characters"
    return ""


def _outcome(value: object) -> str:
    return "" if value in OUTCOMES else f"must be one of {', '.join(OUTCOMES)}"


def _channel(value: object) -> str:
    return "" if value is None or value in CHANNELS else f"must be one of {', '.join(CHANNELS)}"


def _everywhere(value: object) -> str:
    return "" if value is None or isinstance(value, bool) else "must be true or false"


_CHECKS = {"reason": _reason, "outcome": _outcome, "channel": _channel, "everywhere": _everywhere}
