"""A length of time as people say it."""

from __future__ import annotations

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_SECONDS_UP_TO = 2 * _MINUTE
_MINUTES_UP_TO = 2 * _HOUR
_HOURS_UP_TO = 3 * _DAY


def format_duration(seconds: int) -> str:
    """``300`` is "5 minutes". Rounds down, so that it never promises too much; nothing left is ""."""
    if seconds <= 0:
        return ""
    size, unit = _unit(seconds)
    count = seconds // size
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def _unit(seconds: int) -> tuple[int, str]:
    if seconds < _SECONDS_UP_TO and seconds % _MINUTE:
        return 1, "second"
    if seconds < _MINUTES_UP_TO and seconds % _HOUR:
        return _MINUTE, "minute"
    if seconds <= _HOURS_UP_TO:
        return _HOUR, "hour"
    return _DAY, "day"
