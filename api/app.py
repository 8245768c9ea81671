"""The API as one ASGI application; ``create_app`` builds it, importing builds nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

import msgspec
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from api import callback_operations as calling_back
from api import operations as documented
from api import operator_operations as operators
from api import pages
from api import provider_operations as providing
from api.answers import json_response
from api.authentication import Authentication
from api.boundary import Boundary, answer_http_error, answer_log_error, answer_refused
from api.callbacks import CallbackPages
from api.commands import CommandPages
from api.delivery import DeliveryPages
from api.dependencies import ApiDependencies
from api.health import HealthPages
from api.history import HistoryPages
from api.ingest import Ingest
from api.metrics import Metrics
from api.openapi import openapi_document
from api.operations import Operation
from api.problems import Refused
from api.providers import ProviderPages
from api.quarantine import Quarantine
from event_log.api_keys import verify_key
from event_log.errors import EventLogError
from projections.standing import Standing, standing

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


def create_app(dependencies: ApiDependencies, *, mounts: Mapping[str, ASGIApp] | None = None) -> FastAPI:
    """``mounts`` are applications of others by their path, such as ``/sandbox``."""
    app = FastAPI(title="Tidings", openapi_url=None, docs_url=None, redoc_url=None)
    metrics = Metrics(partial(_standing, dependencies))
    mounts = mounts or {}
    endpoints = _endpoints(dependencies, metrics)
    by_path = _by_path(endpoints)
    routes: dict[object, str] = {endpoint: path for path, (endpoint, _) in by_path.items()}
    routes |= {mounted: path for path, mounted in mounts.items()}
    app.add_middleware(Boundary, metrics=metrics, routes=routes)
    app.add_exception_handler(Refused, answer_refused)
    app.add_exception_handler(HTTPException, answer_http_error)
    app.add_exception_handler(EventLogError, answer_log_error)
    for path, (endpoint, methods) in by_path.items():
        app.add_route(path, endpoint, methods, include_in_schema=False)
    app.add_route("/static/{name}", pages.static_file, ["GET"], include_in_schema=False)
    for path, mounted in mounts.items():
        app.mount(path, mounted)
    return app


def _endpoints(dependencies: ApiDependencies, metrics: Metrics) -> list[tuple[Operation, Endpoint]]:
    authentication = Authentication(partial(verify_key, dependencies.database), dependencies.limits.key_cache)
    history = HistoryPages(dependencies, authentication)
    health = HealthPages(dependencies, metrics)
    return [
        (documented.APPEND_EVENTS, Ingest(dependencies, authentication, metrics).append_events),
        (documented.LIST_NOTIFICATIONS, history.list_notifications),
        (documented.SHOW_NOTIFICATION, history.show_notification),
        *_operators_endpoints(dependencies, authentication),
        *_providers_endpoints(dependencies, authentication),
        (calling_back.TWILIO, CallbackPages(dependencies).twilio),
        (documented.LIVE, health.live),
        (documented.READY, health.ready),
        (documented.METRICS, health.metrics),
        (documented.CONSOLE, pages.console),
        (documented.DOCS, pages.docs),
        (documented.DOCUMENT, _document_endpoint()),
        (documented.PROBLEM, pages.problem_page),
    ]


def _by_path(endpoints: Sequence[tuple[Operation, Endpoint]]) -> dict[str, tuple[Endpoint, list[str]]]:
    """One endpoint a path: the router would know the methods of the first alone."""
    found: dict[str, dict[str, Endpoint]] = {}
    for operation, endpoint in endpoints:
        found.setdefault(operation.path, {})[operation.method.upper()] = endpoint
    return {path: (_dispatch(by_method), list(by_method)) for path, by_method in found.items()}


def _dispatch(by_method: Mapping[str, Endpoint]) -> Endpoint:
    if len(by_method) == 1:
        return next(iter(by_method.values()))

    async def endpoint(request: Request) -> Response:
        return await by_method["GET" if request.method == "HEAD" else request.method](request)

    return endpoint


def _operators_endpoints(
    dependencies: ApiDependencies, authentication: Authentication
) -> list[tuple[Operation, Endpoint]]:
    commands = CommandPages(dependencies, authentication)
    delivery = DeliveryPages(dependencies, authentication)
    quarantine = Quarantine(dependencies, authentication)
    return [
        (operators.CANCEL, commands.cancel),
        (operators.RESEND, commands.resend),
        (operators.RESOLVE, commands.resolve),
        (operators.SHOW_PAUSES, delivery.status),
        (operators.PAUSE, delivery.pause),
        (operators.RESUME, delivery.resume),
        (operators.LIST_QUARANTINE, quarantine.list_events),
        (operators.REDRIVE, quarantine.redrive),
    ]


def _providers_endpoints(
    dependencies: ApiDependencies, authentication: Authentication
) -> list[tuple[Operation, Endpoint]]:
    providers = ProviderPages(dependencies, authentication)
    return [
        (providing.LIST_PROVIDERS, providers.list_providers),
        (providing.ADD_PROVIDER, providers.add),
        (providing.CHANGE_PROVIDER, providers.change),
        (providing.RENEW_TOKEN, providers.token),
        (providing.ACTIVATE, providers.activate),
        (providing.DEACTIVATE, providers.deactivate),
        (providing.REMOVE_PROVIDER, providers.remove),
    ]


def _document_endpoint() -> Endpoint:
    operations = (
        *documented.OPERATIONS,
        *operators.OPERATIONS,
        *providing.OPERATIONS,
        *calling_back.OPERATIONS,
    )
    document = msgspec.Raw(msgspec.json.encode(openapi_document(operations)))

    async def answer(_: Request) -> Response:
        return json_response(document)

    return answer


def _standing(dependencies: ApiDependencies) -> Standing:
    with dependencies.database.connection() as connection:
        return standing(connection, dependencies.clock())
