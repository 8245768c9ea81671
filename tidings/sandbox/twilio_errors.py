"""Errors in Twilio's shape, with Twilio's codes and this sandbox's words."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from tidings.sandbox.answers import json_answer
from tidings.sandbox.faults import Fault
from tidings.sandbox.http_faults import Misbehaviour

_ERRORS: Mapping[int, tuple[int, str]] = {
    20003: (401, "Authenticate"),
    20404: (404, "The requested resource was not found"),
    20429: (429, "Too Many Requests"),
    21211: (400, "The 'To' number is not a valid phone number"),
    21212: (400, "The 'From' number is not a valid phone number, shortcode or alphanumeric sender"),
    21408: (400, "Sending to this region is not permitted"),
    21602: (400, "Message body is required"),
    21603: (400, "A 'From' or 'MessagingServiceSid' parameter is required"),
    21604: (400, "A 'To' phone number is required"),
    21606: (400, "The 'From' number is not one that may send this message"),
    21609: (400, "The 'StatusCallback' URL is not valid"),
    21610: (400, "The recipient has unsubscribed"),
    21611: (429, "The queue of this 'From' number is full"),
    21612: (400, "The 'To' number cannot be reached from this 'From' number"),
    21614: (400, "The 'To' number is not a mobile number"),
    21617: (400, "The body exceeds 1600 characters"),
    60200: (400, "Invalid parameter"),
    60202: (429, "Max check attempts reached"),
    60203: (429, "Max send attempts reached"),
}
_DEFAULT_CODES: Mapping[int, int] = {401: 20003, 404: 20404, 429: 20429, 503: 20503}


def twilio_error(code: int, status: int | None = None) -> web.Response:
    """``status`` overrules the one that usually comes with the code."""
    usual, message = _ERRORS.get(code, (400, "Refused, as asked"))
    body = {
        "code": code,
        "message": message,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status or usual,
    }
    answer = json_answer(body, status or usual)
    if code == 20003:  # noqa: PLR2004 - Twilio's code for wrong credentials
        answer.headers["WWW-Authenticate"] = 'Basic realm="Twilio API"'
    return answer


def _refusal(fault: Fault) -> web.Response:
    return twilio_error(fault.error_code or _DEFAULT_CODES.get(fault.code, 20500), fault.code)


def _garbage(_request: web.Request) -> web.Response:
    return web.Response(status=201, body=b'{"sid": "SM', content_type="application/json")


MISBEHAVIOUR = Misbehaviour(_refusal, _garbage)
