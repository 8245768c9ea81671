"""Every operation of the API as its document shows it: what it takes, and every status it can answer."""

from __future__ import annotations

from typing import Any

import msgspec

from api import problems
from api.answers import AppendedEvents, Health, NotificationDetail, NotificationPage
from api.cloud_events import BATCH, MAX_BATCH_BYTES, MAX_EVENT_BYTES, MAX_EVENTS, SINGLE
from api.history_parameters import CHANNELS, DEFAULT_LIMIT, MAX_LIMIT, MESSAGE_TYPES, REASONS
from api.problems import Kind
from projections.history import STATES


class Answer(msgspec.Struct, frozen=True):
    """A success: its words, its shape (None: text) and an example; without a media type it has no body."""

    description: str
    shape: type | None = None
    example: Any = None
    media_type: str = "application/json"


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    method: str
    path: str
    tag: str
    summary: str
    description: str = ""
    scope: str = ""
    """What the caller's key must allow; empty: no key is needed."""
    parameters: tuple[dict[str, Any], ...] = ()
    request_body: dict[str, Any] | None = None
    answers: dict[int, Answer]
    problems: tuple[Kind, ...] = ()


EVENT_EXAMPLE = {
    "specversion": "1.0",
    "source": "https://login.example.com",
    "id": "7f9c2ba4",
    "type": "user.human.email.code.added",
    "subject": "user/42",
    "time": "2026-11-20T10:00:00Z",
    "data": {"code": "ABC123", "expiry": 3600, "trigger_origin": "https://login.example.com"},
}
ITEM_EXAMPLE = {
    "id": "0b5c8a9e-9d5c-5d61-9a53-1f0d6a0b4f3e",
    "state": "sent",
    "reason": None,
    "message_type": "VerifyEmail",
    "channel": "email",
    "user_id": "42",
    "organisation_id": None,
    "source_event": {key: EVENT_EXAMPLE[key] for key in ("source", "id", "type")},
    "attempts": 1,
    "requested_at": "2026-11-20T10:00:00.021Z",
    "closed_at": "2026-11-20T10:00:00.064Z",
    "position": "18",
}
_TIMELINE_EXAMPLE = [
    {
        "type": "notification.requested",
        "at": "2026-11-20T10:00:00.021Z",
        "position": "18",
        "channel": "email",
    },
    {
        "type": "notification.attempt.started",
        "at": "2026-11-20T10:00:00.032Z",
        "position": "19",
        "attempt": 1,
    },
    {
        "type": "notification.transmission.started",
        "at": "2026-11-20T10:00:00.041Z",
        "position": "20",
        "attempt": 1,
    },
    {"type": "notification.sent", "at": "2026-11-20T10:00:00.064Z", "position": "21", "attempt": 1},
]
_EVENT_SCHEMA = {"$ref": "#/components/schemas/CloudEvent"}


def _filter(name: str, description: str, **schema: object) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "description": f"{description} Repeated: any of them.",
        "schema": {"type": "array", "items": {"type": "string", **schema}},
        "style": "form",
        "explode": True,
    }


def _parameter(name: str, description: str, **schema: object) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


_LIST_PARAMETERS = (
    _filter("user_id", "Who is told."),
    _filter("state", "How far it has come.", enum=list(STATES)),
    _filter("reason", "Why it was declined or cancelled.", enum=list(REASONS)),
    _filter("message_type", "What is told.", enum=list(MESSAGE_TYPES)),
    _filter("channel", "How it travels.", enum=list(CHANNELS)),
    _filter("organisation_id", "The user's organisation."),
    _filter("event_id", "The source event, by the caller's own id."),
    _parameter("since", "Decided at this time or later.", type="string", format="date-time"),
    _parameter("until", "Decided before this time.", type="string", format="date-time"),
    _parameter("limit", "Items a page.", type="integer", minimum=1, maximum=MAX_LIMIT, default=DEFAULT_LIMIT),
    _parameter("cursor", "`next` of the page before, with the same filters.", type="string"),
    _parameter(
        "min_position", "Wait until the history has come this far.", type="string", pattern="^[0-9]+$"
    ),
)
NOTIFICATION_ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "format": "uuid"},
}
KEY = (problems.UNAUTHENTICATED, problems.MISSING_SCOPE)
AWAY = (problems.METHOD_NOT_ALLOWED, problems.INTERNAL_ERROR, problems.LOG_UNAVAILABLE)
_PAGE = (problems.METHOD_NOT_ALLOWED, problems.INTERNAL_ERROR)

APPEND_EVENTS = Operation(
    method="post",
    path="/v1/events",
    tag="Events",
    summary="Append events",
    description=(
        "Takes CloudEvents 1.0 in structured JSON, one or a batch (all or nothing), and answers after "
        "the commit. The same `source` and `id` are one event for ever, however often they are sent. "
        f"Limits: {MAX_EVENT_BYTES} bytes an event, {MAX_EVENTS} events and {MAX_BATCH_BYTES} bytes a batch."
    ),
    scope="events:append",
    request_body={
        "required": True,
        "content": {
            SINGLE: {"schema": _EVENT_SCHEMA, "example": EVENT_EXAMPLE},
            BATCH: {
                "schema": {"type": "array", "items": _EVENT_SCHEMA, "minItems": 1, "maxItems": MAX_EVENTS},
                "example": [EVENT_EXAMPLE],
            },
        },
    },
    answers={
        201: Answer(
            "Stored.", AppendedEvents, {"items": [{"id": "7f9c2ba4", "position": "17", "duplicate": False}]}
        ),
        200: Answer(
            "All of them were stored before.",
            AppendedEvents,
            {"items": [{"id": "7f9c2ba4", "position": "17", "duplicate": True}]},
        ),
    },
    problems=(
        problems.MALFORMED,
        *KEY,
        problems.TOO_SLOW,
        problems.VERSION_CONFLICT,
        problems.TOO_LARGE,
        problems.UNSUPPORTED_MEDIA_TYPE,
        problems.INVALID_EVENT,
        problems.EVENT_CHANGED,
        problems.OVERLOADED,
        *AWAY,
    ),
)
LIST_NOTIFICATIONS = Operation(
    method="get",
    path="/v1/notifications",
    tag="Notifications",
    summary="List notifications",
    description="Newest first. Different filters add up. `position` says up to where the answer is complete.",
    scope="notifications:read",
    parameters=_LIST_PARAMETERS,
    answers={
        200: Answer(
            "A page.",
            NotificationPage,
            {"items": [ITEM_EXAMPLE], "next": None, "position": "21", "lag_ms": 0},
        )
    },
    problems=(
        problems.UNKNOWN_PARAMETER,
        problems.INVALID_PARAMETER,
        problems.INVALID_CURSOR,
        *KEY,
        problems.PROJECTION_BEHIND,
        *AWAY,
    ),
)
SHOW_NOTIFICATION = Operation(
    method="get",
    path="/v1/notifications/{id}",
    tag="Notifications",
    summary="Show a notification and its events",
    description="The timeline explains it, oldest first, without any code and with addresses masked.",
    scope="notifications:read",
    parameters=(NOTIFICATION_ID,),
    answers={
        200: Answer("The notification.", NotificationDetail, {**ITEM_EXAMPLE, "timeline": _TIMELINE_EXAMPLE})
    },
    problems=(problems.UNKNOWN_PARAMETER, *KEY, problems.NOT_FOUND, *AWAY),
)
LIVE = Operation(
    method="get",
    path="/health/live",
    tag="Health",
    summary="Whether this process answers",
    answers={200: Answer("It does.", Health, {"status": "live"})},
    problems=_PAGE,
)
READY = Operation(
    method="get",
    path="/health/ready",
    tag="Health",
    summary="Whether this process can serve",
    description="The database answers and its migrations are in place; `missing` names what is not.",
    answers={200: Answer("It can.", Health, {"status": "ready"})},
    problems=(*_PAGE, problems.NOT_READY),
)
METRICS = Operation(
    method="get",
    path="/metrics",
    tag="Health",
    summary="Numbers for Prometheus",
    answers={
        200: Answer(
            "The Prometheus text format.", example="tidings_log_position 21.0\n", media_type="text/plain"
        )
    },
    problems=_PAGE,
)
CONSOLE = Operation(
    method="get",
    path="/",
    tag="Pages",
    summary="Where everything is",
    answers={200: Answer("A page.", media_type="text/html")},
    problems=_PAGE,
)
DOCS = Operation(
    method="get",
    path="/docs",
    tag="Pages",
    summary="This document, to be read",
    answers={200: Answer("A page.", media_type="text/html")},
    problems=_PAGE,
)
DOCUMENT = Operation(
    method="get",
    path="/openapi.json",
    tag="Pages",
    summary="This document",
    answers={200: Answer("OpenAPI 3.1.", dict)},
    problems=_PAGE,
)
PROBLEM = Operation(
    method="get",
    path="/problems/{name}",
    tag="Pages",
    summary="What a kind of problem means",
    parameters=({"name": "name", "in": "path", "required": True, "schema": {"type": "string"}},),
    answers={200: Answer("Its status, title and meaning.", media_type="text/plain")},
    problems=(*_PAGE, problems.NOT_FOUND),
)

OPERATIONS = (
    APPEND_EVENTS,
    LIST_NOTIFICATIONS,
    SHOW_NOTIFICATION,
    LIVE,
    READY,
    METRICS,
    CONSOLE,
    DOCS,
    DOCUMENT,
    PROBLEM,
)
