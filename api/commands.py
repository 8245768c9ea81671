"""``POST /v1/notifications/{id}/cancel``, ``resend``, ``resolve``: what operators ask of one notification."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from api.answers import CommandedNotification, item_fields, json_response
from api.authentication import Authentication
from api.command_body import idempotency_key, read_command
from api.dependencies import ApiDependencies
from api.history import notification_id
from api.problems import (
    ALREADY_HANDED_OVER,
    CODE_GONE,
    EXPIRED,
    KEY_REUSED,
    NEVER_REQUESTED,
    NOT_FOUND,
    NOT_PARKED,
    STILL_OPEN,
    UNREADABLE,
    Kind,
    Refused,
)
from event_log import commands
from event_log.commands import Answer, Done, Hindered, Hindrance, Order
from projections.history import fold

_PROBLEMS: Mapping[Hindrance, tuple[Kind, str]] = {
    Hindrance.HANDED_OVER: (ALREADY_HANDED_OVER, "It is {state}: the message has left already."),
    Hindrance.DECLINED: (NEVER_REQUESTED, "It was declined: there never was a message."),
    Hindrance.STILL_OPEN: (STILL_OPEN, "It is {state}: only what was sent or cancelled can be sent again."),
    Hindrance.CODE_GONE: (CODE_GONE, "It is {state}, and its code is gone: it was used up or has expired."),
    Hindrance.EXPIRED: (EXPIRED, "It is {state}, and its time to live is over."),
    Hindrance.NOT_PARKED: (NOT_PARKED, "It is {state}: only what is parked can be resolved."),
    Hindrance.UNREADABLE: (UNREADABLE, "This version cannot read all of its events."),
    Hindrance.KEY_REUSED: (KEY_REUSED, "The idempotency key was used for another request before."),
}


class CommandPages:
    def __init__(self, dependencies: ApiDependencies, authentication: Authentication) -> None:
        self._dependencies = dependencies
        self._log = dependencies.log
        self._authentication = authentication

    async def cancel(self, request: Request) -> Response:
        order, _ = await self._order(request)
        return await _answer(partial(commands.cancel, self._log, order))

    async def resend(self, request: Request) -> Response:
        order, _ = await self._order(request)
        now, deployment = self._dependencies.clock(), self._dependencies.deployment
        return await _answer(partial(commands.resend, self._log, order, now, deployment), status=201)

    async def resolve(self, request: Request) -> Response:
        order, outcome = await self._order(request, "outcome")
        now = self._dependencies.clock()
        return await _answer(partial(commands.resolve, self._log, order, now, outcome))

    async def _order(self, request: Request, *optional: str) -> tuple[Order, str]:
        """With the outcome, where there is one."""
        key = await self._authentication.key(request, "notifications:write")
        wanted = notification_id(request.path_params["id"])
        members = await read_command(request, self._dependencies.limits.body, *optional)
        order = Order(wanted, key.instance, members["reason"], key.id, idempotency_key(request))
        return order, members.get("outcome", "")


async def _answer(carry_out: Callable[[], Answer], status: int = 200) -> Response:
    done = await asyncio.to_thread(carry_out)
    if done is None:
        raise Refused(NOT_FOUND, "There is no such notification.")
    if isinstance(done, Hindered):
        raise _refused(done)
    headers = {"Idempotency-Replayed": "true"} if done.repeated else {}
    return json_response(_commanded(done), status, headers)


def _refused(hindered: Hindered) -> Refused:
    kind, detail = _PROBLEMS[hindered.by]
    members = {"state": hindered.state, "position": str(hindered.position)}
    return Refused(kind, detail.format(state=hindered.state), members=members)


def _commanded(done: Done) -> CommandedNotification:
    notification = fold(done.history)
    assert notification is not None
    return CommandedNotification(**item_fields(notification), reached=str(done.history[-1].position))
