"""Faults on request, as JSON: ``/sandbox/faults``."""

from __future__ import annotations

from http import HTTPStatus
from itertools import count

from aiohttp import web

from tidings.sandbox.answers import json_answer, problem
from tidings.sandbox.fault_requests import read_fault
from tidings.sandbox.faults import ACTIONS, STAGES, FaultBook


class FaultApi:
    def __init__(self, faults: FaultBook) -> None:
        self._faults = faults
        self._ids = count(1)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/sandbox/faults", self.show),
            web.post("/sandbox/faults", self.add),
            web.delete("/sandbox/faults", self.clear),
            web.delete("/sandbox/faults/{id}", self.remove),
        ]

    async def show(self, _request: web.Request) -> web.StreamResponse:
        return self._answer(HTTPStatus.OK)

    async def add(self, request: web.Request) -> web.StreamResponse:
        self._faults.add(read_fault(await request.read(), next(self._ids)))
        return self._answer(HTTPStatus.CREATED)

    async def clear(self, _request: web.Request) -> web.StreamResponse:
        self._faults.clear()
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def remove(self, request: web.Request) -> web.StreamResponse:
        fault_id = request.match_info["id"]
        if fault_id.isdecimal() and self._faults.remove(int(fault_id)):
            return web.Response(status=HTTPStatus.NO_CONTENT)
        return problem(HTTPStatus.NOT_FOUND, f"there is no fault {fault_id!r}")

    def _answer(self, status: int) -> web.Response:
        return json_answer({"items": self._faults.all(), "stages": STAGES, "actions": ACTIONS}, status)
