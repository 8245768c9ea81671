"""Durations as people write them: ``250ms``, ``5s``, ``10m``, ``72h``, ``1h30m``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")


def parse_duration(text: object) -> timedelta:
    """Raises ValueError with a sentence that shows how it is written."""
    if isinstance(text, timedelta):
        return text
    written = str(text).strip().replace(" ", "")
    if written == "0":
        return timedelta()
    if not _WHOLE.fullmatch(written):
        raise ValueError(f"{str(text)!r} is not a duration; write it like 250ms, 5s, 10m, 72h or 1h30m")
    try:
        return sum((float(number) * _UNITS[unit] for number, unit in _PART.findall(written)), timedelta())
    except OverflowError:
        raise ValueError(f"{str(text)!r} is too long a duration") from None


def format_duration(duration: timedelta) -> str:
    left = duration
    parts: list[str] = []
    for name, unit in _UNITS.items():
        count, left = divmod(left, unit)
        if count:
            parts.append(f"{count}{name}")
    return "".join(parts) or "0s"


Duration = Annotated[
    timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration, return_type=str)
]
