"""Takes any webhook call below ``/webhook/`` and writes it down."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from tidings.sandbox.answers import problem
from tidings.sandbox.desk import Desk
from tidings.sandbox.entries import WebhookEntry
from tidings.sandbox.faults import Fault
from tidings.sandbox.http_faults import Misbehaviour, babble, suffer


class WebhookReceiver:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/webhook/{name:.*}", self.receive)]

    async def receive(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        unheard = await suffer(self._desk.take("webhook", "request", request.path), request, _MISBEHAVIOUR)
        if unheard is not None:
            return unheard
        fault = self._desk.take("webhook", "reply", request.path)
        if fault is None or not fault.loses_message:
            await self._write_down(request, body)
        return await suffer(fault, request, _MISBEHAVIOUR) or web.Response(status=HTTPStatus.NO_CONTENT)

    async def _write_down(self, request: web.Request, body: bytes) -> None:
        await self._desk.ledger.append(
            WebhookEntry(
                id=self._desk.new_id("WH"),
                received_at=self._desk.now(),
                to=(request.path,),
                headers={name: request.headers.getall(name) for name in request.headers},
                body=body,
            )
        )


def _refusal(fault: Fault) -> web.Response:
    return problem(fault.code, "refused, as asked")


_MISBEHAVIOUR = Misbehaviour(_refusal, babble)
