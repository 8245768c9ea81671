"""The bodies that set up SMS providers, each member known and as it must be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from api.command_body import refuse_faults, unknown
from api.problems import Fault
from api.strict_json import kind_of, pointer_to

KINDS = ("twilio", "http")
LONGEST = 500

_SHAPES: Mapping[str, tuple[str, str]] = {
    "id": (r"[A-Za-z0-9._~-]{1,100}", "must be 1 to 100 letters, digits or any of . _ ~ -"),
    "kind": ("|".join(KINDS), f"must be one of {', '.join(KINDS)}"),
    "sid": (r"AC[0-9A-Za-z]{1,40}", "must be an account SID, AC…"),
    "sender_number": (r"(\+[1-9][0-9]{6,14})?", "must be a number such as +41791234567"),
    "verify_service_sid": (r"(VA[0-9A-Za-z]{1,40})?", "must be a Verify service's SID, VA…"),
    "endpoint": (r"https?://[^\s]{1,2000}", "must be an address that begins with https://"),
    "token": (r"[\x21-\x7e]{1,500}", "must be 1 to 500 visible ASCII characters"),
}
TWILIO_PARTS = ("sid", "sender_number", "verify_service_sid")
HTTP_PARTS = ("endpoint",)
_NEEDED = {"twilio": ("sid", "token"), "http": ("endpoint",)}


def check_new(members: Mapping[str, Any]) -> None:
    """Raises Refused, with each missing part named."""
    kind = members.get("kind")
    parts = {"twilio": (*TWILIO_PARTS, "token"), "http": HTTP_PARTS}.get(str(kind), ())
    known = {"kind", "id", "description", *parts}
    needed = ("kind", *_NEEDED.get(str(kind), ()))
    missing = [Fault(pointer_to([name]), "is required") for name in needed if name not in members]
    if kind == "twilio" and not (members.get("sender_number") or members.get("verify_service_sid")):
        missing.append(Fault("/sender_number", "is required, unless verify_service_sid is given"))
    shaped = _misshapen(members)
    refuse_faults([*missing, *shaped, *(unknown(members, known) if not shaped else ())])


def check_change(members: Mapping[str, Any], *parts: str) -> None:
    """Raises Refused; ``parts`` are what may be given."""
    refuse_faults([*unknown(members, set(parts)), *_misshapen(members)])


def check_token(members: Mapping[str, Any]) -> None:
    check_change(members, "token")
    refuse_faults([] if "token" in members else [Fault("/token", "is required")])


def _misshapen(members: Mapping[str, Any]) -> list[Fault]:
    faults = {pointer_to([name]): _fault(name, value) for name, value in members.items()}
    return [Fault(pointer, detail) for pointer, detail in faults.items() if detail]


def _fault(name: str, value: object) -> str:
    if name not in _SHAPES and name != "description":
        return ""
    if not isinstance(value, str):
        return f"must be a string, not {kind_of(value)}"
    if name == "description":
        fits = len(value) <= LONGEST and (not value or value.isprintable())
        return "" if fits else f"must be at most {LONGEST} printable characters"
    pattern, detail = _SHAPES[name]
    return "" if re.fullmatch(pattern, value) else detail
