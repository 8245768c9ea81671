"""Reads the body of ``POST /sandbox/faults``; every complaint names the field and what it may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from tidings.sandbox.errors import BadField
from tidings.sandbox.faults import ACTIONS, CHANNELS, STAGES, STAGES_WITH_RECIPIENT, Fault, FaultyChannel

T = TypeVar("T")
Body = Mapping[str, object]

FIELDS = (
    "channel", "stage", "action", "code", "seconds", "count",
    "to", "accepted", "error_code", "retry_after",
)  # fmt: skip
FOR_EVER = -1
LONGEST = 86_400
_DEFAULT_STAGE: Mapping[FaultyChannel, str] = {"email": "dot", "sms": "request", "webhook": "request"}
_DEFAULT_CODE: Mapping[FaultyChannel, int] = {"email": 451, "sms": 503, "webhook": 503}
_CODES: Mapping[FaultyChannel, tuple[int, int]] = {
    "email": (400, 599),
    "sms": (300, 599),
    "webhook": (300, 599),
}
_BIGGEST = 2**31


def read_fault(body: bytes, fault_id: int) -> Fault:
    """Raises BadField. A field that is null counts as left out, except that a ``count`` of null or -1 means
    until cleared; a stage left out is the last word of a mail or the whole of an HTTP request.
    """
    given = _object(body)
    channel = _one_of(given, "channel", CHANNELS, None)
    code, error_code = _codes(given, channel)
    return Fault(
        id=fault_id,
        channel=channel,
        stage=_one_of(given, "stage", STAGES[channel], _DEFAULT_STAGE[channel]),
        action=_one_of(given, "action", ACTIONS, None),
        code=code,
        seconds=_seconds(given),
        count=_count(given),
        to=_recipient(given, channel),
        accepted=_accepted(given),
        error_code=error_code,
        retry_after=_whole(given, "retry_after", 0, LONGEST),
    )


def _object(body: bytes) -> Body:
    try:
        given = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadField("", f"the body must be one JSON object: {error}", FIELDS) from error
    for name in given:
        if name not in FIELDS:
            raise BadField(f"/{name}", f"there is no field {name!r}", FIELDS)
    return given


def _one_of(given: Body, name: str, allowed: Sequence[T], default: T | None) -> T:
    value = default if given.get(name) is None else given[name]
    for candidate in allowed:
        if candidate == value:
            return candidate
    said = "it is missing" if value is None else f"not {value!r}"
    raise BadField(
        f"/{name}", f"{name} must be one of {', '.join(map(str, allowed))}; {said}", map(str, allowed)
    )


def _codes(given: Body, channel: FaultyChannel) -> tuple[int, int | None]:
    code = _whole(given, "code", *_CODES[channel])
    return code or _DEFAULT_CODE[channel], _whole(given, "error_code", 10_000, 99_999)


def _whole(given: Body, name: str, least: int, most: int) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadField(f"/{name}", f"{name} must be a whole number from {least} to {most}; not {value!r}")
    return value


def _seconds(given: Body) -> float | None:
    value = given.get("seconds")
    if value is None:
        return 1.0 if given.get("action") == "delay" else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST:
        raise BadField("/seconds", f"seconds must be a number from 0 to {LONGEST}; not {value!r}")
    return float(value)


def _count(given: Body) -> int | None:
    if "count" not in given:
        return 1
    if given["count"] == FOR_EVER:
        return None
    return _whole(given, "count", 1, _BIGGEST)


def _recipient(given: Body, channel: FaultyChannel) -> str | None:
    to = given.get("to")
    if to is None:
        return None
    if not isinstance(to, str) or not to:
        raise BadField("/to", f"to must be an address, a number or a path; not {to!r}")
    stages = [stage for stage in STAGES[channel] if stage in STAGES_WITH_RECIPIENT]
    if _one_of(given, "stage", STAGES[channel], _DEFAULT_STAGE[channel]) not in stages:
        raise BadField(
            "/to", f"to needs a stage at which the recipient is known: {', '.join(stages)}", stages
        )
    return to


def _accepted(given: Body) -> bool:
    accepted = given.get("accepted")
    if accepted is None:
        return True
    if not isinstance(accepted, bool):
        raise BadField("/accepted", f"accepted must be true or false; not {accepted!r}", ("true", "false"))
    return accepted
