"""What Twilio posts to a status callback: its signature, and what its words mean."""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias
from urllib.parse import parse_qsl, urlsplit

from event_log.feedback import Report
from notification_domain.notification_events import Standing

Fields: TypeAlias = Sequence[tuple[str, str]]

MOST_FIELDS = 100
_STANDINGS: Mapping[str, Standing] = {
    **dict.fromkeys(("accepted", "scheduled", "queued", "sending", "sent"), Standing.ACCEPTED),
    **dict.fromkeys(("delivered", "read"), Standing.DELIVERED),
    **dict.fromkeys(("undelivered", "failed", "canceled"), Standing.FAILED),
}
_WORDS: Mapping[str, str] = {
    "30001": "the queue was full",
    "30002": "the account is suspended",
    "30003": "the handset cannot be reached",
    "30004": "the message was blocked",
    "30005": "the number is unknown or in service no more",
    "30006": "a landline, or a network that cannot be reached",
    "30007": "the network filtered the message",
    "30008": "the network did not say why",
}
"""Of the error codes that come with a callback; Twilio's own words may repeat the number."""
_SID = re.compile(r"[A-Za-z0-9]{1,64}")
_CODE = re.compile(r"[1-9][0-9]{0,5}")


def read_fields(body: bytes) -> Fields:
    """Raises ValueError for what is no form."""
    return parse_qsl(
        body.decode(), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=MOST_FIELDS
    )


def is_signed(url: str, fields: Fields, signature: str, tokens: Iterable[str]) -> bool:
    """Whether one of the tokens has signed these fields for this address, as Twilio does it."""
    given = signature.encode()
    expected = [_signature(one, fields, token) for token in tokens for one in _spellings(url)]
    return any([hmac.compare_digest(given, one) for one in expected])  # noqa: C419  # all, always


def report_of(fields: Fields) -> Report | None:
    """None for a status that nobody here knows; other fields are none of our business."""
    given = dict(fields)
    status = given.get("MessageStatus") or given.get("SmsStatus", "")
    if status not in _STANDINGS:
        return None
    code = _matching(_CODE, given.get("ErrorCode", ""))
    return Report(
        status=status,
        standing=_STANDINGS[status],
        code=code,
        error=_WORDS.get(code, ""),
        provider_message_id=_matching(_SID, given.get("MessageSid", "")),
    )


def _signature(url: str, fields: Fields, token: str) -> bytes:
    """HMAC-SHA1 over the address and each different field, in order of names, without anything between."""
    signed = url + "".join(name + value for name, value in sorted(set(fields)))
    return base64.b64encode(hmac.digest(token.encode(), signed.encode(), "sha1"))


def _spellings(url: str) -> list[str]:
    """Twilio is not of one mind whether the scheme's own port belongs to an address."""
    parts = urlsplit(url)
    port = 443 if parts.scheme == "https" else 80
    if parts.port is None:
        return [url, parts._replace(netloc=f"{parts.netloc}:{port}").geturl()]
    return [url, parts._replace(netloc=parts.netloc.rpartition(":")[0]).geturl()]


def _matching(pattern: re.Pattern[str], text: str) -> str:
    return text if pattern.fullmatch(text) else ""
