"""Twilio's Messages resource: create, list, fetch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from http import HTTPStatus

from aiohttp import web

from tidings.sandbox.answers import json_answer
from tidings.sandbox.desk import Desk
from tidings.sandbox.entries import TextEntry
from tidings.sandbox.http_faults import suffer
from tidings.sandbox.message_index import Selection
from tidings.sandbox.status_callbacks import StatusCallbacks
from tidings.sandbox.twilio_access import credentials_of
from tidings.sandbox.twilio_errors import MISBEHAVIOUR, twilio_error
from tidings.sandbox.twilio_requests import MessageRequest, read_form, read_message
from tidings.sandbox.twilio_resources import list_resource, message_resource

_COLLECTION = "/2010-04-01/Accounts/{account}/Messages.json"
_LARGEST_PAGE = 1000
_COMPARISONS: Mapping[str, Callable[[date, date], bool]] = {
    "DateSent": lambda sent, given: sent == given,
    "DateSent<": lambda sent, given: sent <= given,
    "DateSent>": lambda sent, given: sent >= given,
}


class TwilioMessages:
    def __init__(self, desk: Desk, callbacks: StatusCallbacks) -> None:
        self._desk = desk
        self._callbacks = callbacks

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(_COLLECTION, self.create),
            web.get(_COLLECTION, self.search),
            web.get("/2010-04-01/Accounts/{account}/Messages/{sid}.json", self.fetch),
        ]

    async def create(self, request: web.Request) -> web.StreamResponse:
        form = await read_form(request)
        unheard = await suffer(self._desk.take("sms", "request", form.get("To", "")), request, MISBEHAVIOUR)
        if unheard is not None:
            return unheard
        access = credentials_of(request)
        if access is None:
            return twilio_error(20003)
        asked = read_message(form)
        if isinstance(asked, int):
            return twilio_error(asked)
        return await self._accept(request, asked, access.password)

    async def search(self, request: web.Request) -> web.StreamResponse:
        if credentials_of(request) is None:
            return twilio_error(20003)
        page, size = _number(request, "Page", 0), min(_number(request, "PageSize", 50) or 1, _LARGEST_PAGE)
        entries = self._texts(Selection(channel="sms", to=request.query.get("To")))
        now = self._desk.now()
        shown = [message_resource(entry, now) for entry in entries if _is_asked_for(entry, request)]
        return json_answer(list_resource(request.path, shown, page, size))

    async def fetch(self, request: web.Request) -> web.StreamResponse:
        if credentials_of(request) is None:
            return twilio_error(20003)
        place = self._desk.ledger.index.get(request.match_info["sid"])
        for entry in self._desk.ledger.read([place] if place else []):
            if isinstance(entry, TextEntry) and entry.account == request.match_info["account"]:
                return json_answer(message_resource(entry, self._desk.now()))
        return twilio_error(20404)

    async def _accept(self, request: web.Request, asked: MessageRequest, token: str) -> web.StreamResponse:
        entry = self._entry(request.match_info["account"], asked)
        fault = self._desk.take("sms", "reply", asked.to)
        if fault is None or not fault.loses_message:
            await self._desk.ledger.append(entry)
            if asked.callback is not None:
                self._callbacks.promise(entry, asked.callback, token)
        created = json_answer(message_resource(entry, entry.received_at), HTTPStatus.CREATED)
        return await suffer(fault, request, MISBEHAVIOUR) or created

    def _entry(self, account: str, asked: MessageRequest) -> TextEntry:
        return TextEntry(
            id=self._desk.new_id("SM"),
            received_at=self._desk.now(),
            sender=asked.sender,
            to=(asked.to,),
            body=asked.body,
            account=account,
            messaging_service=asked.messaging_service,
        )

    def _texts(self, selection: Selection) -> list[TextEntry]:
        """Newest first."""
        ledger = self._desk.ledger
        return [one for one in ledger.read(ledger.index.select(selection)) if isinstance(one, TextEntry)]


def _is_asked_for(entry: TextEntry, request: web.Request) -> bool:
    return (
        entry.account == request.match_info["account"]
        and request.query.get("From", entry.sender) == entry.sender
        and all(_sent_when_asked(entry, name, request) for name in _COMPARISONS)
    )


def _sent_when_asked(entry: TextEntry, name: str, request: web.Request) -> bool:
    given = _day(request.query.get(name, ""))
    return given is None or _COMPARISONS[name](entry.received_at.date(), given)


def _day(text: str) -> date | None:
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        return None


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else default
