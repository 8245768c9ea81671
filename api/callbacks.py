"""``POST /v1/callbacks/twilio/{reference}``: what became of a text message after Twilio took it.

No key is asked for: the address is sealed by us, and the body signed by the account that sent the message.
Whether there is such a notification shows in no answer.
"""

from __future__ import annotations

import asyncio
import re

from starlette.requests import Request
from starlette.responses import Response

from api.dependencies import ApiDependencies
from api.problems import FORGED, NOT_FOUND, UNSUPPORTED_MEDIA_TYPE, Refused
from api.request_body import read_body
from api.twilio_form import Fields, is_signed, read_fields, report_of
from event_log.callbacks import TWILIO_PATH, Reference, open_reference
from event_log.feedback import hear, twilio_tokens

MEDIA_TYPE = "application/x-www-form-urlencoded"
MOST_BYTES = 16 * 1024
SIGNATURE = "X-Twilio-Signature"

_CONTENT_TYPE = re.compile(r"application/x-www-form-urlencoded\s*(;.*)?", re.IGNORECASE)


class CallbackPages:
    def __init__(self, dependencies: ApiDependencies) -> None:
        self._log = dependencies.log
        self._patience = dependencies.limits.body
        self._callbacks = dependencies.callbacks

    async def twilio(self, request: Request) -> Response:
        text = request.path_params["reference"]
        reference = open_reference(self._log.callback_seal, text)
        if reference is None or not self._callbacks.public_url:
            raise Refused(NOT_FOUND, "There is no such callback.")
        fields = await self._fields(request)
        signature = request.headers.get(SIGNATURE, "")
        # As configured: the Host header is whatever a proxy, or a stranger, makes of it.
        url = f"{self._callbacks.public_url}{TWILIO_PATH}{text}"
        await asyncio.to_thread(self._take, reference, url, fields, signature)
        return Response(status_code=204)

    async def _fields(self, request: Request) -> Fields:
        given = request.headers.get("content-type", "").strip()
        if not _CONTENT_TYPE.fullmatch(given):
            raise Refused(
                UNSUPPORTED_MEDIA_TYPE,
                f"The content type must be {MEDIA_TYPE}, not {given[:100] or 'absent'}.",
                headers={"Accept-Post": MEDIA_TYPE},
            )
        try:
            return read_fields(await read_body(request, MOST_BYTES, self._patience))
        except ValueError:
            raise _forged() from None

    def _take(self, reference: Reference, url: str, fields: Fields, signature: str) -> None:
        tokens = twilio_tokens(self._log, reference, self._callbacks.twilio_tokens)
        if not is_signed(url, fields, signature, tokens):
            raise _forged()
        report = report_of(fields)
        if report is not None:
            hear(self._log, reference, report)


def _forged() -> Refused:
    return Refused(FORGED, f"The header {SIGNATURE} is missing, or is not that of this request.")
