"""A text message as Twilio's API shows it, with the status it has reached by now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Final

from tidings.sandbox.entries import TextEntry

API_VERSION: Final = "2010-04-01"
_SENT, _ENDED = timedelta(milliseconds=200), timedelta(milliseconds=600)
_FAILURES: Final = {
    **{f"+1500555{code}": ("failed", code) for code in (30001, 30002)},
    **{f"+1500555{code}": ("undelivered", code) for code in range(30003, 30009)},
}
"""Numbers of our own that are taken and fail later, as networks do; they end in their error code."""

_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)


def steps(entry: TextEntry) -> tuple[tuple[str, timedelta], ...]:
    """Which statuses a message goes through, and how long after its arrival it reaches each."""
    end, _ = _FAILURES.get(entry.to[0], ("delivered", 0))
    # A message that fails at once never was on its way.
    return ((end, _ENDED),) if end == "failed" else (("sent", _SENT), (end, _ENDED))


def error_at(entry: TextEntry, status: str) -> int | None:
    """Why it failed, when it has come to that."""
    end, code = _FAILURES.get(entry.to[0], ("", 0))
    return code if status == end else None


def message_resource(entry: TextEntry, now: datetime) -> dict[str, object]:
    status = status_at(entry, now)
    path = message_path(entry.account, entry.id)
    return {
        "account_sid": entry.account,
        "api_version": API_VERSION,
        "body": entry.body,
        "date_created": format_datetime(entry.received_at),
        "date_sent": None if status in {"queued", "accepted"} else format_datetime(entry.received_at),
        "date_updated": format_datetime(entry.received_at),
        "direction": "outbound-api",
        "error_code": error_at(entry, status),
        "error_message": None,
        "from": entry.sender,
        "messaging_service_sid": entry.messaging_service,
        "num_media": "0",
        "num_segments": str(segments(entry.body)),
        "price": None,
        "price_unit": "USD",
        "sid": entry.id,
        "status": status,
        "subresource_uris": {"media": f"{path}/Media.json"},
        "to": entry.to[0],
        "uri": f"{path}.json",
    }


def status_at(entry: TextEntry, now: datetime) -> str:
    status = "accepted" if entry.messaging_service else "queued"
    for step, after in steps(entry):
        if now - entry.received_at >= after:
            status = step
    return status


def message_path(account: str, sid: str) -> str:
    return f"/{API_VERSION}/Accounts/{account}/Messages/{sid}"


def segments(body: str) -> int:
    """160 characters of the GSM alphabet or 70 of UCS-2 fit in one; a few less in each of several."""
    if _GSM.issuperset(body):
        return _parts(len(body), 160, 153)
    return _parts(len(body.encode("utf-16-le")) // 2, 70, 67)


def _parts(length: int, alone: int, joined: int) -> int:
    return 1 if length <= alone else -(-length // joined)


def list_resource(
    path: str, shown: Sequence[Mapping[str, object]], page: int, size: int
) -> dict[str, object]:
    """One page; the last one has no next address."""
    start = page * size
    following = f"{path}?PageSize={size}&Page={page + 1}" if len(shown) > start + size else None
    return {
        "messages": shown[start : start + size],
        "page": page,
        "page_size": size,
        "start": start,
        "end": max(start, min(start + size, len(shown)) - 1),
        "uri": f"{path}?PageSize={size}&Page={page}",
        "first_page_uri": f"{path}?PageSize={size}&Page=0",
        "previous_page_uri": f"{path}?PageSize={size}&Page={page - 1}" if page else None,
        "next_page_uri": following,
    }
