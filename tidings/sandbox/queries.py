"""Reads the query of ``GET /sandbox/messages``; every complaint names the parameter."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from tidings.sandbox.errors import BadField
from tidings.sandbox.faults import CHANNELS
from tidings.sandbox.message_index import Selection

PARAMETERS = ("channel", "to", "since", "limit", "summary")
DEFAULT_LIMIT = 100
LARGEST_LIMIT = 100_000


class Listing(msgspec.Struct, frozen=True):
    selection: Selection
    limit: int
    summary: bool


def read_listing(query: Mapping[str, str]) -> Listing:
    """Raises BadField."""
    for name in query:
        if name not in PARAMETERS:
            raise BadField(f"?{name}", f"there is no parameter {name!r}", PARAMETERS)
    selection = Selection(_channel(query), query.get("to"), _since(query))
    return Listing(selection, _limit(query), _summary(query))


def _channel(query: Mapping[str, str]) -> str | None:
    channel = query.get("channel")
    if channel is not None and channel not in CHANNELS:
        raise BadField("?channel", f"channel must be one of {', '.join(CHANNELS)}; not {channel!r}", CHANNELS)
    return channel


def _since(query: Mapping[str, str]) -> datetime | None:
    text = query.get("since")
    if text is None:
        return None
    try:
        # A plus sign that nobody encoded arrives as a space.
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError as error:
        raise BadField(
            "?since", f"since must be a time such as 2026-11-03T14:00:00Z; not {text!r}"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _limit(query: Mapping[str, str]) -> int:
    text = query.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and int(text[:9]) <= LARGEST_LIMIT):
        raise BadField("?limit", f"limit must be a whole number from 0 to {LARGEST_LIMIT}; not {text!r}")
    return int(text)


def _summary(query: Mapping[str, str]) -> bool:
    text = query.get("summary", "false")
    if text not in {"true", "false"}:
        raise BadField("?summary", f"summary must be true or false; not {text!r}", ("true", "false"))
    return text == "true"
