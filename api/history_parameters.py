"""The query of ``GET /v1/notifications``: known names and possible values only, so that no filter is lost."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.datastructures import QueryParams

from api.problems import INVALID_PARAMETER, UNKNOWN_PARAMETER, Refused
from notification_domain.notification_events import Reason
from notification_domain.triggers import TRIGGERS
from projections.history import STATES, Filters

CHANNELS = ("email", "sms", "webhook")
MESSAGE_TYPES = tuple(dict.fromkeys(trigger.message_type for trigger in TRIGGERS))
REASONS = tuple(reason.value for reason in Reason)
DEFAULT_LIMIT, MAX_LIMIT = 50, 500
MAX_ALTERNATIVES = 100

_WHOLE = re.compile(r"[0-9]{1,18}")
_TEXT = re.compile(r"[^\x00-\x1f\x7f]{1,500}")


class ListRequest(msgspec.Struct, frozen=True):
    filters: Filters
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None
    min_position: int | None = None

    def listed(self, instance: str) -> bytes:
        """What makes this list this list: the page cursor is bound to it."""
        return msgspec.json.encode((instance, self.filters))


def read_list_request(query: QueryParams) -> ListRequest:
    """Raises Refused with 400, naming the parameter."""
    given: dict[str, list[str]] = {}
    for name, value in query.multi_items():
        if name not in _PARAMETERS:
            raise Refused(
                UNKNOWN_PARAMETER, f"{name[:50]!r} is not known here; known are {', '.join(_PARAMETERS)}."
            )
        given.setdefault(name, []).append(value)
    values = {name: _PARAMETERS[name](name, texts) for name, texts in given.items()}
    filters = {name: values.pop(name) for name in Filters.__struct_fields__ if name in values}
    return ListRequest(Filters(**filters), **values)


def _refused(name: str, expected: str) -> Refused:
    return Refused(INVALID_PARAMETER, f"{name} must be {expected}.", members={"parameter": name})


def _one(name: str, texts: list[str]) -> str:
    if len(texts) > 1:
        raise _refused(name, "given once")
    return texts[0]


def _alternatives(name: str, texts: list[str]) -> tuple[str, ...]:
    if len(texts) > MAX_ALTERNATIVES:
        raise _refused(name, f"given at most {MAX_ALTERNATIVES} times")
    if not all(map(_TEXT.fullmatch, texts)):
        raise _refused(name, "1 to 500 printable characters")
    return tuple(sorted(set(texts)))


def _among(choices: tuple[str, ...]) -> Callable[[str, list[str]], tuple[str, ...]]:
    def read(name: str, texts: list[str]) -> tuple[str, ...]:
        if not set(texts) <= set(choices):
            raise _refused(name, f"one of {', '.join(choices)}")
        return tuple(sorted(set(texts)))

    return read


def _time(name: str, texts: list[str]) -> datetime:
    try:
        time = msgspec.convert(_one(name, texts), datetime)
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        pass
    raise _refused(name, "an RFC 3339 time with its offset, such as 2026-11-20T10:00:00Z (+ is written %2B)")


def _limit(name: str, texts: list[str]) -> int:
    text = _one(name, texts)
    if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= MAX_LIMIT:
        raise _refused(name, f"a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def position_parameter(name: str, texts: list[str]) -> int:
    """Raises Refused with 400."""
    text = _one(name, texts)
    if not _WHOLE.fullmatch(text):
        raise _refused(name, "a position as another answer gave it")
    return int(text)


_PARAMETERS: Mapping[str, Callable[[str, list[str]], Any]] = {
    "user_id": _alternatives,
    "state": _among(STATES),
    "reason": _among(REASONS),
    "message_type": _among(MESSAGE_TYPES),
    "channel": _among(CHANNELS),
    "organisation_id": _alternatives,
    "event_id": _alternatives,
    "since": _time,
    "until": _time,
    "limit": _limit,
    "cursor": _one,
    "min_position": position_parameter,
}
