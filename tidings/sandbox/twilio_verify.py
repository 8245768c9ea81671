"""Twilio's Verify v2: send a code that the provider makes up, and check it."""

from __future__ import annotations

from datetime import datetime, timedelta
from http import HTTPStatus

import msgspec
from aiohttp import web

from tidings.sandbox.answers import json_answer
from tidings.sandbox.desk import Desk
from tidings.sandbox.entries import TextEntry
from tidings.sandbox.http_faults import suffer
from tidings.sandbox.twilio_access import credentials_of
from tidings.sandbox.twilio_errors import MISBEHAVIOUR, twilio_error
from tidings.sandbox.twilio_requests import is_number, read_form

VALIDITY = timedelta(minutes=10)
MOST_SENDS = 5
MOST_CHECKS = 5


class Verification(msgspec.Struct):
    sid: str
    service: str
    account: str
    to: str
    code: str
    created_at: datetime
    status: str = "pending"
    sends: int = 0
    checks: int = 0

    def resource(self, now: datetime) -> dict[str, object]:
        return {
            "sid": self.sid,
            "service_sid": self.service,
            "account_sid": self.account,
            "to": self.to,
            "channel": "sms",
            "status": self.status,
            "valid": self.status == "approved",
            "amount": None,
            "payee": None,
            "date_created": _iso(self.created_at),
            "date_updated": _iso(now),
        }


class TwilioVerify:
    """Pending codes live in memory: after a restart they have expired."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._pending: dict[tuple[str, str], Verification] = {}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v2/Services/{service}/Verifications", self.send),
            web.post("/v2/Services/{service}/VerificationCheck", self.check),
        ]

    async def send(self, request: web.Request) -> web.StreamResponse:
        form = await read_form(request)
        to = form.get("To", "")
        unheard = await suffer(self._desk.take("sms", "request", to), request, MISBEHAVIOUR)
        if unheard is not None:
            return unheard
        access = credentials_of(request)
        if access is None:
            return twilio_error(20003)
        if not is_number(to) or form.get("Channel") != "sms":
            return twilio_error(60200)
        return await self._send(request, access.user, to)

    async def check(self, request: web.Request) -> web.StreamResponse:
        if credentials_of(request) is None:
            return twilio_error(20003)
        form = await read_form(request)
        verification = self._find(request.match_info["service"], form)
        if verification is None:
            return twilio_error(20404)
        return self._check(verification, form.get("Code", ""))

    async def _send(self, request: web.Request, account: str, to: str) -> web.StreamResponse:
        verification = self._verification(request.match_info["service"], account, to)
        if verification.sends == MOST_SENDS:
            return twilio_error(60203)
        verification.sends += 1
        fault = self._desk.take("sms", "reply", to)
        if fault is None or not fault.loses_message:
            await self._desk.ledger.append(self._entry(verification))
        created = json_answer(self._sent(verification), HTTPStatus.CREATED)
        return await suffer(fault, request, MISBEHAVIOUR) or created

    def _verification(self, service: str, account: str, to: str) -> Verification:
        """The one that is pending, or a new one."""
        self._forget_expired()
        sid, code = self._desk.new_id("VE"), self._code()
        fresh = Verification(sid, service, account, to, code, self._desk.now())
        return self._pending.setdefault((service, to), fresh)

    def _find(self, service: str, form: dict[str, str]) -> Verification | None:
        self._forget_expired()
        for verification in self._pending.values():
            if verification.service == service and _is_meant(verification, form):
                return verification
        return None

    def _check(self, verification: Verification, code: str) -> web.Response:
        if verification.checks == MOST_CHECKS:
            return twilio_error(60202)
        verification.checks += 1
        if code == verification.code:
            verification.status = "approved"
            del self._pending[verification.service, verification.to]
        return json_answer(verification.resource(self._desk.now()))

    def _forget_expired(self) -> None:
        oldest = self._desk.now() - VALIDITY
        self._pending = {key: one for key, one in self._pending.items() if one.created_at > oldest}

    def _code(self) -> str:
        return f"{int(self._desk.sources.new_id(), 16) % 1_000_000:06}"

    def _entry(self, verification: Verification) -> TextEntry:
        return TextEntry(
            id=self._desk.new_id("SM"),
            received_at=self._desk.now(),
            sender=None,
            to=(verification.to,),
            body=f"Your verification code is {verification.code}.",
            account=verification.account,
        )

    def _sent(self, verification: Verification) -> dict[str, object]:
        now = self._desk.now()
        url = f"https://verify.twilio.com/v2/Services/{verification.service}/Verifications/{verification.sid}"
        attempt = {"attempt_sid": self._desk.new_id("VL"), "channel": "sms", "time": _iso(now)}
        more: dict[str, object] = {"lookup": {}, "sna": None, "send_code_attempts": [attempt], "url": url}
        return verification.resource(now) | more


def _is_meant(verification: Verification, form: dict[str, str]) -> bool:
    return verification.sid == form.get("VerificationSid") or verification.to == form.get("To")


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
