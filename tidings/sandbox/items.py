"""A message as the JSON API shows it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import assert_never

import msgspec

from tidings.sandbox.entries import Entry, MailEntry, TextEntry, WebhookEntry
from tidings.sandbox.mail_reading import read_mail

SNIPPET = 160


class Item(msgspec.Struct, frozen=True, rename={"sender": "from"}):
    id: str
    channel: str
    sender: str | None
    to: tuple[str, ...]
    subject: str | None
    text: str | None
    html: str | None
    headers: dict[str, list[str]]
    received_at: datetime


def item_of(entry: Entry) -> Item:
    match entry:
        case MailEntry():
            return _mail(entry)
        case TextEntry():
            return _item(entry, "sms", sender=entry.sender, text=entry.body)
        case WebhookEntry():
            body = entry.body.decode("utf-8", "replace")
            return _item(entry, "webhook", text=body, headers=entry.headers)
        case other:
            assert_never(other)


def summary_of(item: Item) -> Item:
    """The same without what makes it long."""
    return msgspec.structs.replace(item, text=(item.text or "")[:SNIPPET], html=None, headers={})


def encode_items(entries: Iterable[Entry], *, summary: bool) -> list[bytes]:
    items = map(item_of, entries)
    return [msgspec.json.encode(summary_of(item) if summary else item) for item in items]


def _mail(entry: MailEntry) -> Item:
    mail = read_mail(entry.content)
    return Item(
        id=entry.id,
        channel="email",
        sender=entry.sender,
        to=entry.to,
        subject=mail.subject,
        text=mail.text,
        html=mail.html,
        headers=mail.headers,
        received_at=entry.received_at,
    )


def _item(
    entry: TextEntry | WebhookEntry,
    channel: str,
    *,
    text: str,
    sender: str | None = None,
    headers: dict[str, list[str]] | None = None,
) -> Item:
    return Item(
        id=entry.id,
        channel=channel,
        sender=sender,
        to=entry.to,
        subject=None,
        text=text,
        html=None,
        headers=headers or {},
        received_at=entry.received_at,
    )
