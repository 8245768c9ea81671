"""CloudEvents 1.0 in structured JSON, single and batched, as other services append them.

What is wrong with an event is told with a JSON pointer into the body, such as ``/3/data/code``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from api import strict_json
from api.event_meaning import NAMED_SECRET, WrongEvent, check_meaning
from api.problems import INVALID_EVENT, MALFORMED, TOO_LARGE, Fault, Refused
from api.strict_json import Malformed, kind_of, pointer_to
from event_log.intake import CallerEvent
from event_log.topics import RESERVED
from notification_domain.source_events import expected_kind

SINGLE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
MAX_EVENT_BYTES = 64 * 1024
MAX_BATCH_BYTES = 4 * 1024 * 1024
MAX_EVENTS = 1_000
MAX_FAULTS = 20
"""More would tell a caller nothing new."""
EXPECTED_VERSION = "tidingsexpectedversion"

_CONTEXT = frozenset(
    {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data", "data_base64"}
)
_OURS = frozenset({NAMED_SECRET, EXPECTED_VERSION})
_LONGEST = {"id": 500, "source": 1_000, "type": 200, "subject": 400}
_TYPE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:/+-]*[A-Za-z0-9])?")
_SUBJECT = re.compile(r"(?P<kind>[A-Za-z][A-Za-z0-9_.-]{0,49})/[^\s\x00-\x1f\x7f-\x9f]+")
_EXTENSION = re.compile(r"[a-z0-9]{1,50}")
_JSON = "application/json"
_JSON_TYPE = re.compile(r"(?:application|text)/json|[a-z0-9.!#$&^_-]+/[a-z0-9.!#$&^_-]+\+json", re.IGNORECASE)
UTF8 = re.compile(r"""\s*charset\s*=\s*"?utf-8"?\s*""", re.IGNORECASE)
_YEARS = range(1970, 3000)


def read_single(body: bytes) -> list[CallerEvent]:
    """Raises Refused."""
    _check_size(body, "")
    return _all_good([_attempt(body, "")])


def read_batch(body: bytes) -> list[CallerEvent]:
    """Raises Refused, naming up to MAX_FAULTS events that are wrong."""
    try:
        documents = strict_json.split(body)
    except Malformed as error:
        raise _malformed(error, "") from None
    if not documents:
        raise Refused(INVALID_EVENT, "The batch is empty.", [Fault("", "must hold at least one event")])
    if len(documents) > MAX_EVENTS:
        raise _too_large(f"The batch holds {len(documents)} events.", MAX_EVENTS, len(documents))
    return _all_good([_attempt(document, f"/{index}") for index, document in enumerate(documents)])


def is_json_type(content_type: str) -> bool:
    """Whether a media type, parameters and all, means JSON in UTF-8."""
    media_type, *parameters = content_type.split(";")
    return bool(_JSON_TYPE.fullmatch(media_type.strip())) and all(map(UTF8.fullmatch, parameters))


def _attempt(document: bytes, at: str) -> CallerEvent | Fault:
    _check_size(document, at)
    try:
        value = strict_json.read(document)
    except Malformed as error:
        raise _malformed(error, at) from None
    if not isinstance(value, dict):
        raise _malformed(Malformed(f"must be an object, not {kind_of(value)}"), at)
    try:
        return _event(value)
    except WrongEvent as wrong:
        return Fault(at + wrong.pointer, wrong.detail)


def _all_good(read: list[CallerEvent | Fault]) -> list[CallerEvent]:
    faults = [fault for fault in read if isinstance(fault, Fault)]
    if not faults:
        return [event for event in read if isinstance(event, CallerEvent)]
    more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
    first = faults[0]
    where = f"{first.pointer} " if first.pointer else "The event "
    raise Refused(INVALID_EVENT, f"{where}{first.detail}{more}.", faults[:MAX_FAULTS])


def _check_size(document: bytes, at: str) -> None:
    if len(document) > MAX_EVENT_BYTES:
        what = f"The event at {at}" if at else "An event"
        raise _too_large(f"{what} holds {len(document)} bytes.", MAX_EVENT_BYTES, len(document), at)


def _too_large(detail: str, limit: int, actual: int, at: str = "") -> Refused:
    fault = Fault(at, f"{actual} is over the limit of {limit}")
    return Refused(
        TOO_LARGE, f"{detail} The limit is {limit}.", [fault], members={"limit": limit, "actual": actual}
    )


def _malformed(error: Malformed, at: str) -> Refused:
    pointer = at + error.pointer
    where = pointer or "The body"
    return Refused(MALFORMED, f"{where} {error.detail}.", [Fault(pointer, error.detail)])


def _event(members: dict[str, Any]) -> CallerEvent:
    given = {name: value for name, value in members.items() if value is not None or name == "data"}
    _check_version(given)
    event_type = _type(given)
    subject = _subject(given, event_type)
    data = _data(given)
    named = _named_secrets(given, data)
    check_meaning(event_type, data, named)
    return CallerEvent(
        source=_text(given, "source"),
        id=_text(given, "id"),
        type=event_type,
        subject=subject,
        data=data,
        time=_time(given),
        extensions=_extensions(given),
        secret_fields=named,
        expected_version=_expected_version(given),
    )


def _check_version(given: Mapping[str, Any]) -> None:
    version = given.get("specversion")
    if version != "1.0":
        raise WrongEvent(
            "/specversion", 'is required and must be "1.0"' if version is None else 'must be "1.0"'
        )


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if value is None:
        raise WrongEvent(f"/{name}", "is required")
    if not isinstance(value, str):
        raise WrongEvent(f"/{name}", f"must be a string, not {kind_of(value)}")
    if not value.strip():
        raise WrongEvent(f"/{name}", "must not be empty")
    if len(value) > _LONGEST[name]:
        raise WrongEvent(f"/{name}", f"must not be longer than {_LONGEST[name]} characters")
    if not value.isprintable() or value != value.strip():
        raise WrongEvent(f"/{name}", "must be printable, without white space around it")
    return value


def _type(given: Mapping[str, Any]) -> str:
    event_type = _text(given, "type")
    if not _TYPE.fullmatch(event_type):
        raise WrongEvent("/type", "must be letters, digits and dots, such as user.human.email.code.added")
    first = event_type.lower().partition(".")[0]
    if f"{first}." in RESERVED:
        raise WrongEvent("/type", f"must not begin with {first}: those events are Tidings' own")
    return event_type


def _subject(given: Mapping[str, Any], event_type: str) -> str:
    subject = _text(given, "subject")
    matched = _SUBJECT.fullmatch(subject)
    kind = matched["kind"] if matched else subject
    if kind.lower() == "notification":
        raise WrongEvent("/subject", "must not name a notification: those are Tidings' own")
    if (matched is None) != (kind == "instance"):
        raise WrongEvent("/subject", "must be user/ID, session/ID, organisation/ID, KIND/ID or instance")
    expected = expected_kind(event_type)
    if expected is not None and kind != expected:
        form = expected if expected == "instance" else f"{expected}/ID"
        raise WrongEvent("/subject", f"must be {form} for events of type {event_type}")
    return subject


def _data(given: Mapping[str, Any]) -> dict[str, Any]:
    if "data_base64" in given:
        raise WrongEvent("/data_base64", "is not taken: give the data as a JSON object in data")
    content_type = given.get("datacontenttype", _JSON)
    if content_type != _JSON and not (isinstance(content_type, str) and is_json_type(content_type)):
        raise WrongEvent("/datacontenttype", "must be application/json, or be left out")
    data = given.get("data", {})
    if not isinstance(data, dict):
        raise WrongEvent("/data", f"must be an object, not {kind_of(data)}")
    return data


def _time(given: Mapping[str, Any]) -> datetime | None:
    value = given.get("time")
    if value is None:
        return None
    try:
        time = msgspec.convert(value, datetime) if isinstance(value, str) else None
    except msgspec.ValidationError:
        time = None
    if time is None or time.tzinfo is None:
        raise WrongEvent("/time", "must be an RFC 3339 time with its offset, such as 2026-11-20T10:00:00Z")
    if time.year not in _YEARS:
        raise WrongEvent("/time", f"must lie in the years {_YEARS[0]} to {_YEARS[-1]}")
    return time.astimezone(UTC)


def _extensions(given: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: _extension(name, value)
        for name, value in given.items()
        if name not in _CONTEXT and name not in _OURS
    }


def _extension(name: str, value: object) -> str:
    if not _EXTENSION.fullmatch(name):
        raise WrongEvent(
            pointer_to((name,)), "is no attribute: extension names are lower-case letters, digits"
        )
    match value:
        case bool():
            return "true" if value else "false"
        case int() | str():
            return str(value)
        case _:
            raise WrongEvent(f"/{name}", f"must be a string, an integer or a boolean, not {kind_of(value)}")


def _named_secrets(given: Mapping[str, Any], data: dict[str, Any]) -> tuple[str, ...]:
    value = given.get(NAMED_SECRET, "")
    if not isinstance(value, str):
        raise WrongEvent(f"/{NAMED_SECRET}", f"must be a string of field names, not {kind_of(value)}")
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    for name in names:
        if name not in data:
            # A misspelt name would leave the secret in the log for ever.
            raise WrongEvent(f"/{NAMED_SECRET}", f"names {name!r}, which is no top-level field of data")
    return names


def _expected_version(given: Mapping[str, Any]) -> int | None:
    value = given.get(EXPECTED_VERSION)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise WrongEvent(f"/{EXPECTED_VERSION}", "must be an integer from 0 up")
    return value


READERS: dict[str, Callable[[bytes], list[CallerEvent]]] = {SINGLE: read_single, BATCH: read_batch}
