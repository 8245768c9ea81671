"""Whatever is wrong with a request is told in a problem document, and nothing of it is stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from api.cloud_events import BATCH, MAX_BATCH_BYTES, SINGLE
from tests.api.conftest import Append
from tests.api.events import CODE, event


def raw(text: str) -> bytes:
    """A good event with ``text`` as further members."""
    return f"{json.dumps(event())[:-1]}, {text}}}".encode()


def data(**members: Any) -> dict[str, Any]:
    return event(data=members)


BAD_BODIES: list[tuple[Any, int, str]] = [
    # Not JSON as we take it.
    (b"", 400, "not valid JSON"),
    (b"{", 400, "not valid JSON"),
    (b"hello", 400, "not valid JSON"),
    (json.dumps(event()).encode("utf-16"), 400, "byte order mark"),
    (b"\xef\xbb\xbf" + json.dumps(event()).encode(), 400, "byte order mark"),
    (json.dumps(event()).encode("utf-16-le"), 400, "NUL"),
    (json.dumps(event(id="ü"), ensure_ascii=False).encode("latin-1"), 400, "not valid UTF-8"),
    (raw('"id": "2"'), 400, "/id is given twice"),
    (raw('"data": {"a": NaN}'), 400, "NaN"),
    (raw('"x": {"a": 1e999}'), 400, "out of range"),
    (raw('"x": [1, 99999999999999999999]'), 400, "/x/1 is an integer outside 64 bits"),
    (raw(r'"x": "\u0000"'), 400, "/x holds a NUL"),
    (raw(r'"x": {"y": "\ud800"}'), 400, "/x/y holds a lone surrogate"),
    (raw('"x": ' + "[" * 20 + "]" * 20), 400, "nested more than 16 deep"),
    (b"[" * 60_000, 400, "nested more than 16 deep"),
    (raw('"x": "' + "y" * 17_000 + '"'), 400, "/x is longer than"),
    (data(**{str(number): 1 for number in range(1001)}), 400, "more than 1000 names"),
    (b"[]", 400, "must be an object, not an array"),
    (b'"event"', 400, "must be an object, not a string"),
    (b"null", 400, "must be an object, not null"),
    ([1], 400, "/0 must be an object, not a number"),
    ([event(), [event()]], 400, "/1 must be an object, not an array"),
    # Too much.
    (event(data={str(number): "x" * 15_000 for number in range(5)}), 413, "65536"),
    ([event(), event(id="2", data={str(n): "x" * 15_000 for n in range(5)})], 413, "/1"),
    ([event(id=str(number), data={"code": "1"}) for number in range(1001)], 413, "1001"),
    ([], 422, "The batch is empty"),
    # The envelope.
    (event(specversion=...), 422, "/specversion is required"),
    (event(specversion="0.3"), 422, '/specversion must be "1.0"'),
    (event(specversion=1.0), 422, '/specversion must be "1.0"'),
    (event(id=...), 422, "/id is required"),
    (event(id=None), 422, "/id is required"),
    (event(id=""), 422, "/id must not be empty"),
    (event(id="   "), 422, "/id must not be empty"),
    (event(id=7), 422, "/id must be a string, not a number"),
    (event(id="x" * 501), 422, "/id must not be longer than 500"),
    (event(id="a\nb"), 422, "/id must be printable"),
    (event(source=...), 422, "/source is required"),
    (event(source=""), 422, "/source must not be empty"),
    (event(source=["a"]), 422, "/source must be a string, not an array"),
    (event(type=...), 422, "/type is required"),
    (event(type=""), 422, "/type must not be empty"),
    (event(type="user human"), 422, "/type must be letters"),
    (event(type="x" * 201), 422, "/type must not be longer than 200"),
    (event(type="notification.sent"), 422, "/type must not begin with notification"),
    (event(type="Notification.Requested"), 422, "/type must not begin with notification"),
    (event(subject=...), 422, "/subject is required"),
    (event(subject="user"), 422, "/subject must be user/ID"),
    (event(subject="user/"), 422, "/subject must be user/ID"),
    (event(subject="/42"), 422, "/subject must be user/ID"),
    (event(subject="user/4 2"), 422, "/subject must be user/ID"),
    (event(subject="notification/42"), 422, "/subject must not name a notification"),
    (event(subject="instance/acme"), 422, "/subject must be"),
    (event(subject="session/1"), 422, "/subject must be user/ID for events of type"),
    (event(type="org.added", subject="org/1"), 422, "/subject must be organisation/ID"),
    (event(type="instance.added", subject="user/1"), 422, "/subject must be instance for"),
    (event(time="yesterday"), 422, "/time must be an RFC 3339"),
    (event(time="2026-11-20T10:00:00"), 422, "/time must be an RFC 3339"),
    (event(time="2026-02-30T10:00:00Z"), 422, "/time must be an RFC 3339"),
    (event(time="0001-01-01T00:00:00+14:00"), 422, "/time must lie in"),
    (event(time=1763632800), 422, "/time must be an RFC 3339"),
    (event(datacontenttype="text/xml"), 422, "/datacontenttype"),
    (event(datacontenttype="application/json; charset=latin-1"), 422, "/datacontenttype"),
    (event(datacontenttype=5), 422, "/datacontenttype"),
    (event(data="text"), 422, "/data must be an object, not a string"),
    (event(data=None), 422, "/data must be an object, not null"),
    (event(data=[CODE]), 422, "/data must be an object, not an array"),
    (event(data=..., data_base64="e30="), 422, "/data_base64 is not taken"),
    (event(traceParent="x"), 422, "/traceParent is no attribute"),
    (event(trace_id="x"), 422, "/trace_id is no attribute"),
    (event(traceparent=1.5), 422, "/traceparent must be a string"),
    (event(traceparent={"a": 1}), 422, "/traceparent must be a string"),
    # What Tidings adds to the envelope.
    (event(tidingssecret=["code"]), 422, "/tidingssecret must be a string"),
    (event(tidingssecret="pin"), 422, "/tidingssecret names 'pin'"),
    (event(tidingssecret="expiry"), 422, "/tidingssecret names a field"),
    (event(tidingsexpectedversion="1"), 422, "/tidingsexpectedversion must be an integer"),
    (event(tidingsexpectedversion=-1), 422, "/tidingsexpectedversion must be an integer"),
    (event(tidingsexpectedversion=True), 422, "/tidingsexpectedversion must be an integer"),
    # The data of known types.
    (data(), 422, "/data/code is required"),
    (data(code=""), 422, "/data/code is required"),
    (data(code=None), 422, "/data/code is required"),
    (data(code=123456), 422, "/data/code"),
    (data(code={"Crypted": "aGk="}), 422, "/data/code"),
    (data(Code=CODE), 422, "/data/Code must be spelled 'code'"),
    (data(code=CODE, expiry="1h"), 422, "/data/expiry"),
    (data(code=CODE, expiry=-1), 422, "/data/expiry"),
    (data(code=CODE, expiry=1.5), 422, "/data/expiry"),
    (data(code=CODE, expiry=True), 422, "/data/expiry"),
    (data(code=CODE, codeReturned="no"), 422, "/data/codeReturned"),
    (data(code=CODE, urlTemplate="javascript:alert(1)"), 422, "/data/urlTemplate must be an http"),
    (data(code=CODE, url_template="https://x y/{{.Code}}"), 422, "/data/url_template must be an http"),
    (data(code=CODE, url_template="verify?code={{.Code}}"), 422, "/data/url_template must be an http"),
    (
        data(code=CODE, url_template="https://x/", urlTemplate="https://x/"),
        422,
        "/data/urlTemplate is given twice",
    ),
    (data(code=CODE, url_template=["https://x/"]), 422, "/data/url_template"),
    (
        event(type="user.human.password.code.added", data={"code": CODE, "notification_type": 2}),
        422,
        "/data/notif",
    ),
    (event(type="user.email.code.added", data={}), 422, "/data/code is required"),
    (event(type="user.human.email.changed", data={}), 422, "/data/email is required"),
    (event(type="user.human.added", data={"email": ["a@example.com"]}), 422, "/data/email"),
    (event(type="user.human.added", data={"encodedHash": "x", "passwordSet": True}), 422, "/data/password"),
    (event(type="user.username.changed", data={}), 422, "/data/user_name is required"),
    (event(type="session.user.checked", subject="session/1", data={}), 422, "/data/user_id is required"),
    ([event(), event(id="2"), event(id="3"), data()], 422, "/3/data/code is required"),
    ([event(), event(id=""), event(specversion="2")], 422, "/1/id must not be empty and 1 more"),
]


async def test_a_bad_body_gets_a_problem_that_names_the_fault(
    append: Append, stored: Callable[[], int], subtests: pytest.Subtests
) -> None:
    for row, (body, status, named) in enumerate(BAD_BODIES):
        with subtests.test(row=row, named=named):
            answer = await append(body)
            problem = the_problem(answer)
            assert (answer.status_code, problem["detail"]) == (status, Containing(named))
            for fault in problem["errors"]:
                assert fault["detail"]
                assert fault["pointer"] == "" or fault["pointer"].startswith("/")
    assert stored() == 0


class Containing:
    """Equal to every text that holds this one."""

    def __init__(self, part: str) -> None:
        self.part = part

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.part in other

    def __hash__(self) -> int:
        return hash(self.part)

    def __repr__(self) -> str:
        return f"…{self.part}…"


def the_problem(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["type"].startswith("/problems/")
    assert problem["title"]
    assert CODE not in answer.text
    return problem


BAD_HEADERS: list[tuple[dict[str, str], int, str]] = [
    ({"Content-Type": "application/json"}, 415, SINGLE),
    ({"Content-Type": "text/plain"}, 415, BATCH),
    ({"Content-Type": ""}, 415, "absent"),
    ({"Content-Type": f"{SINGLE}; charset=utf-16"}, 415, "charset=utf-16"),
    ({"Content-Type": f"{SINGLE}-x"}, 415, "cloudevents+json-x"),
    ({"Content-Encoding": "gzip"}, 415, "gzip"),
    ({"Content-Length": "70000"}, 413, "70000"),
    ({"Content-Length": "9" * 30}, 413, "65536"),
    ({"Authorization": ""}, 401, "Bearer KEY"),
    ({"Authorization": "Basic YTpi"}, 401, "Bearer KEY"),
    ({"Authorization": "Bearer"}, 401, "Bearer KEY"),
    ({"Authorization": "Bearer tdg_nobody_nothing"}, 401, "unknown or revoked"),
    ({"Authorization": "Bearer tdg__"}, 401, "unknown or revoked"),
    ({"Authorization": "Bearer ü"}, 401, "Bearer KEY"),
    ({"Authorization": "Bearer a\x00b"}, 401, "Bearer KEY"),
    ({"Authorization": "Bearer " + "x" * 9000}, 401, "Bearer KEY"),
]


async def test_bad_headers_get_a_problem_that_names_the_fault(
    client: httpx2.AsyncClient, stored: Callable[[], int], subtests: pytest.Subtests
) -> None:
    for headers, status, named in BAD_HEADERS:
        with subtests.test(headers=headers):
            merged = {**client.headers, "content-type": SINGLE} | {k.lower(): v for k, v in headers.items()}
            given = {name.encode(): value.encode() for name, value in merged.items()}
            answer = await client.post("/v1/events", content=json.dumps(event()).encode(), headers=given)
            problem = the_problem(answer)
            assert (answer.status_code, problem["detail"]) == (status, Containing(named))
            assert ("www-authenticate" in answer.headers) == (status == 401)
    assert stored() == 0


BAD_QUERIES: list[tuple[str, int, str]] = [
    ("user=42", 400, "'user' is not known"),
    ("user_id=42&Limit=5", 400, "'Limit' is not known"),
    ("user_id=", 400, "user_id"),
    ("user_id=%00", 400, "user_id"),
    ("state=done", 400, "state must be one of waiting"),
    ("state=sent&state=Sent", 400, "state"),
    ("reason=because", 400, "reason"),
    ("message_type=Hello", 400, "message_type"),
    ("channel=pigeon", 400, "channel"),
    ("limit=0", 400, "limit"),
    ("limit=501", 400, "limit"),
    ("limit=ten", 400, "limit"),
    ("limit=-1", 400, "limit"),
    ("limit=%D9%A3", 400, "limit"),
    ("limit=5&limit=6", 400, "limit must be given once"),
    ("since=yesterday", 400, "since"),
    ("since=2026-01-01T00:00:00", 400, "since"),
    ("until=0001-01-01T00:00:00%2B14:00", 400, "until"),
    ("min_position=-5", 400, "min_position"),
    ("min_position=" + "9" * 30, 400, "min_position"),
    ("cursor=", 400, "cursor"),
    ("cursor=abc", 400, "cursor"),
    ("cursor=%C3%BC", 400, "cursor"),
    ("cursor=" + "A" * 32, 400, "cursor"),
    ("event_id=" + "&event_id=".join(map(str, range(101))), 400, "event_id"),
]


async def test_a_bad_query_gets_a_problem_that_names_the_parameter(
    client: httpx2.AsyncClient, subtests: pytest.Subtests
) -> None:
    for query, status, named in BAD_QUERIES:
        with subtests.test(query=query):
            answer = await client.get(f"/v1/notifications?{query}")
            problem = the_problem(answer)
            assert (answer.status_code, problem["detail"]) == (status, Containing(named))


MISSING: list[tuple[str, str, int]] = [
    ("GET", "/nothing", 404),
    ("GET", "/v1/notifications/42", 404),
    ("GET", "/v1/notifications/00000000-0000-0000-0000-000000000000", 404),
    ("GET", "/v1/notifications/%00", 404),
    ("GET", "/v1/notifications/00000000-0000-0000-0000-000000000000?expand=all", 400),
    ("GET", "/problems/none", 404),
    ("GET", "/static/..%2Fapp.py", 404),
    ("GET", "/v1/events", 405),
    ("DELETE", "/v1/notifications", 405),
    ("POST", "/health/live", 405),
    ("BREW", "/v1/events", 405),
]


async def test_what_is_not_there_is_a_problem_too(
    client: httpx2.AsyncClient, subtests: pytest.Subtests
) -> None:
    for method, path, status in MISSING:
        with subtests.test(method=method, path=path):
            answer = await client.request(method, path)
            the_problem(answer)
            assert answer.status_code == status
            assert ("allow" in answer.headers) == (status == 405)


async def test_a_batch_over_the_limit_is_refused_while_it_comes(append: Append) -> None:
    answer = await append([event(data={"code": "1", "x": "y" * 16_000})] * (MAX_BATCH_BYTES // 16_000 + 1))
    problem = the_problem(answer)
    assert (answer.status_code, problem["limit"]) == (413, MAX_BATCH_BYTES)
    assert problem["actual"] > MAX_BATCH_BYTES
