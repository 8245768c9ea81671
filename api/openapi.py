"""The OpenAPI 3.1 document, made from the operations and the shapes of their answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from api.cloud_events import EXPECTED_VERSION
from api.event_meaning import NAMED_SECRET
from api.operations import EVENT_EXAMPLE, Answer, Operation
from api.problems import KINDS, MEDIA_TYPE, Kind, Problem, problem

_REFERENCE = "#/components/schemas/{name}"
_DESCRIPTION = (
    "Append what happened to your users; read what became of every message that followed. "
    "Every answer that is not a success is an RFC 9457 problem document."
)

_CLOUD_EVENT: dict[str, Any] = {
    "type": "object",
    "title": "CloudEvent",
    "description": "A CloudEvents 1.0 event in structured JSON. Further attributes are extensions.",
    "required": ["specversion", "id", "source", "type", "subject"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "minLength": 1, "maxLength": 500},
        "source": {"type": "string", "minLength": 1, "maxLength": 1000},
        "type": {
            "type": "string",
            "minLength": 1,
            "maxLength": 200,
            "description": "Any dotted name but notification.* and tidings.*; unknown ones mean nothing.",
        },
        "subject": {
            "type": "string",
            "description": "user/ID, session/ID, organisation/ID, instance, KIND/ID; not notification/ID.",
        },
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"type": "string", "default": "application/json"},
        "data": {"type": "object", "default": {}},
        NAMED_SECRET: {
            "type": "string",
            "description": "Names of top-level fields of data, separated by commas, to be kept out of "
            "the log as `code` always is.",
        },
        EXPECTED_VERSION: {
            "type": "integer",
            "minimum": 0,
            "description": "Store the event only if its subject has so many events already.",
        },
    },
    "patternProperties": {"^[a-z0-9]+$": {}},
    "additionalProperties": False,
    "examples": [EVENT_EXAMPLE],
}


def openapi_document(operations: Iterable[Operation]) -> dict[str, Any]:
    operations = tuple(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tidings", "version": "1", "description": _DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": {"CloudEvent": _CLOUD_EVENT, **_schemas(operations)},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "x-problems": [msgspec.to_builtins(kind) for kind in KINDS.values()],
    }


def _schemas(operations: tuple[Operation, ...]) -> dict[str, Any]:
    shapes = {answer.shape for operation in operations for answer in operation.answers.values()}
    named = sorted((shape for shape in shapes if shape not in (None, dict)), key=str)
    _, schemas = msgspec.json.schema_components([*named, Problem], ref_template=_REFERENCE)
    return schemas


def _operation(operation: Operation) -> dict[str, Any]:
    documented: dict[str, Any] = {
        "operationId": operation.summary.replace(" ", "-").lower(),
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "parameters": list(operation.parameters),
        "security": [{"key": [operation.scope]}] if operation.scope else [],
        "responses": _responses(operation),
    }
    if operation.request_body is not None:
        documented["requestBody"] = operation.request_body
    return documented


def _responses(operation: Operation) -> dict[str, Any]:
    responses = {str(status): _answer(answer) for status, answer in operation.answers.items()}
    for status in sorted({kind.status for kind in operation.problems}):
        responses[str(status)] = _problems([kind for kind in operation.problems if kind.status == status])
    return responses


def _answer(answer: Answer) -> dict[str, Any]:
    if not answer.media_type:
        return {"description": answer.description}
    content: dict[str, Any] = {"schema": _schema(answer.shape)}
    if answer.example is not None:
        content["example"] = answer.example
    return {"description": answer.description, "content": {answer.media_type: content}}


def _schema(shape: type | None) -> dict[str, Any]:
    if shape is None:
        return {"type": "string"}
    return {"type": "object"} if shape is dict else {"$ref": _REFERENCE.format(name=shape.__name__)}


def _problems(kinds: list[Kind]) -> dict[str, Any]:
    examples = {
        kind.name: {"summary": kind.title, "value": msgspec.to_builtins(problem(kind, kind.meaning))}
        for kind in kinds
    }
    content = {"schema": {"$ref": _REFERENCE.format(name="Problem")}, "examples": examples}
    return {"description": "; or: ".join(kind.title for kind in kinds), "content": {MEDIA_TYPE: content}}
