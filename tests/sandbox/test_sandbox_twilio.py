from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web as server
from twilio.request_validator import RequestValidator

from tests.sandbox.sandbox_clients import Web, web_of
from tidings.sandbox.desk import Sources
from tidings.sandbox.server import SandboxAddress, sandbox

ACCOUNT = "AC" + "0" * 32
MESSAGES = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
SERVICE = "VA" + "0" * 32
ACCESS = {"Authorization": aiohttp.encode_basic_auth(ACCOUNT, "token")}
FORM = {"To": "+41791234567", "From": "+15005550006", "Body": "Your code is 123456"}


async def send(web: Web, **changes: str) -> tuple[int, Any]:
    return await web.call("POST", MESSAGES, data=FORM | changes, headers=ACCESS)


async def test_a_message_has_twilios_shape_when_it_is_created(web: Web) -> None:
    status, message = await send(web)
    assert status == 201
    assert message["sid"].startswith("SM")
    assert len(message["sid"]) == 34
    assert message["status"] == "queued"
    assert (message["to"], message["from"], message["body"]) == (FORM["To"], FORM["From"], FORM["Body"])
    assert parsedate_to_datetime(message["date_created"]).tzinfo is not None
    assert (message["account_sid"], message["num_segments"]) == (ACCOUNT, "1")


async def test_a_message_is_listed_as_sms_when_it_was_created(web: Web) -> None:
    _, message = await send(web)
    (item,) = await web.messages()
    assert (item["id"], item["channel"], item["to"]) == (message["sid"], "sms", [FORM["To"]])
    assert (item["subject"], item["text"], item["html"]) == (None, FORM["Body"], None)


async def test_a_second_message_is_made_when_a_request_is_repeated(web: Web) -> None:
    first, second = await send(web), await send(web)
    assert first[1]["sid"] != second[1]["sid"]
    assert len(await web.messages()) == 2


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"To": ""}, 400, 21604),
        ({"To": "0791234567"}, 400, 21211),
        ({"To": "+15005550001"}, 400, 21211),
        ({"To": "+15005550002"}, 400, 21612),
        ({"To": "+15005550003"}, 400, 21408),
        ({"To": "+15005550004"}, 400, 21610),
        ({"To": "+15005550009"}, 400, 21614),
        ({"From": ""}, 400, 21603),
        ({"From": "+"}, 400, 21212),
        ({"From": "+15005550001"}, 400, 21212),
        ({"From": "+15005550007"}, 400, 21606),
        ({"From": "+15005550008"}, 429, 21611),
        ({"Body": ""}, 400, 21602),
        ({"Body": "x" * 1601}, 400, 21617),
        ({"StatusCallback": "gopher://x"}, 400, 21609),
        ({"StatusCallback": "http://["}, 400, 21609),
    ],
)
async def test_twilios_error_is_answered_when_a_field_is_wrong(
    web: Web, changes: Mapping[str, str], status: int, code: int
) -> None:
    answered, error = await send(web, **changes)
    assert (answered, error["status"], error["code"]) == (status, status, code)
    assert error["more_info"].endswith(str(code))
    assert await web.messages() == []


@pytest.mark.parametrize("header", [{}, {"Authorization": "Basic %%%"}, {"Authorization": "Bearer x"},
                                    {"Authorization": aiohttp.encode_basic_auth(ACCOUNT, "")}])  # fmt: skip
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", MESSAGES), ("GET", MESSAGES), ("GET", MESSAGES.replace(".json", "/SMx.json")),
     ("POST", f"/v2/Services/{SERVICE}/Verifications"),
     ("POST", f"/v2/Services/{SERVICE}/VerificationCheck")],
)  # fmt: skip
async def test_access_is_denied_when_credentials_are_missing(
    web: Web, method: str, path: str, header: dict[str, str]
) -> None:
    status, error = await web.call(method, path, data=FORM if method == "POST" else None, headers=header)
    assert (status, error["code"]) == (401, 20003)


async def test_a_message_walks_to_delivered_when_time_passes(tmp_path: Path) -> None:
    now = datetime(2026, 11, 3, 14, tzinfo=UTC)
    ids = iter(f"{number:032x}" for number in range(9))
    sources = Sources(clock=lambda: now, new_id=lambda: next(ids))
    async with sandbox(tmp_path, sources=sources) as address, web_of(address) as web:
        _, created = await send(web, MessagingServiceSid="MG" + "0" * 32)
        assert created["sid"] == "SM" + "0" * 32
        statuses = []
        for _ in range(3):
            statuses.append((await web.get(created["uri"], headers=ACCESS))["status"])
            now += timedelta(milliseconds=300)
    assert statuses == ["accepted", "sent", "delivered"]


async def test_the_list_is_filtered_and_paged_when_asked(web: Web) -> None:
    for to in ("+41791234567", "+41791234568", "+41791234567"):
        await send(web, To=to)
    query = {"To": "+41791234567", "PageSize": "1", "DateSent>": "2020-01-01"}
    first = await web.get(MESSAGES, params=query, headers=ACCESS)
    second = await web.get(first["next_page_uri"] + "&To=%2B41791234567", headers=ACCESS)
    assert [len(first["messages"]), len(second["messages"]), second["next_page_uri"]] == [1, 1, None]
    assert (await web.get(MESSAGES, params={"DateSent<": "2020-01-01"}, headers=ACCESS))["messages"] == []
    assert (await web.get(MESSAGES, params={"From": "+1"}, headers=ACCESS))["messages"] == []


async def test_the_answer_is_not_found_when_a_message_is_unknown(web: Web) -> None:
    status, error = await web.call("GET", MESSAGES.replace(".json", "/SMnone.json"), headers=ACCESS)
    assert (status, error["code"]) == (404, 20404)


class Called:
    """Whoever asked for callbacks; answers what it is told to, and 204 after that."""

    def __init__(self, *statuses: int) -> None:
        self.calls: asyncio.Queue[tuple[str, dict[str, str], str]] = asyncio.Queue()
        self._statuses = list(statuses)

    async def take(self, request: server.Request) -> server.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        await self.calls.put((str(request.url), form, request.headers["X-Twilio-Signature"]))
        return server.Response(status=self._statuses.pop(0) if self._statuses else 204)

    async def forms(self, count: int) -> list[dict[str, str]]:
        return [(await self.calls.get())[1] for _ in range(count)]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        runner = server.AppRunner(server.Application())
        runner.app.router.add_post("/status", self.take)
        await runner.setup()
        await server.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/status?attempt=1"
        finally:
            await runner.cleanup()


async def test_signed_callbacks_follow_when_a_status_callback_was_given(web: Web) -> None:
    called = Called()
    async with called.listening() as url:
        _, message = await send(web, StatusCallback=url)
        seen = [await called.calls.get(), await called.calls.get()]
    assert [form["MessageStatus"] for _, form, _ in seen] == ["sent", "delivered"]
    for called_url, form, signature in seen:
        assert form["MessageSid"] == message["sid"]
        assert "ErrorCode" not in form
        assert RequestValidator("token").validate(called_url, form, signature)


@pytest.mark.parametrize(
    ("to", "statuses", "code"),
    [
        ("+150055530001", ["failed"], "30001"),
        ("+150055530003", ["sent", "undelivered"], "30003"),
        ("+150055530008", ["sent", "undelivered"], "30008"),
    ],
)
async def test_a_number_of_ours_fails_later_with_its_code(
    web: Web, to: str, statuses: list[str], code: str
) -> None:
    called = Called()
    async with called.listening() as url:
        status, message = await send(web, To=to, StatusCallback=url)
        assert (status, message["status"], message["error_code"]) == (201, "queued", None)
        forms = await called.forms(len(statuses))
    assert [form["MessageStatus"] for form in forms] == statuses
    assert [form.get("ErrorCode") for form in forms] == [*[None] * (len(statuses) - 1), code]
    shown = await web.get(message["uri"], headers=ACCESS)
    assert (shown["status"], shown["error_code"]) == (statuses[-1], int(code))


async def test_a_callback_is_repeated_a_few_times_when_it_meets_trouble_and_not_when_it_is_refused(
    web: Web,
) -> None:
    called = Called(500, 503, 204, 403)
    async with called.listening() as url:
        await send(web, StatusCallback=url)
        forms = await called.forms(4)
        assert called.calls.empty()
    assert [form["MessageStatus"] for form in forms] == ["sent", "sent", "sent", "delivered"]


async def verify(web: Web, what: str, **form: str) -> tuple[int, Any]:
    return await web.call("POST", f"/v2/Services/{SERVICE}/{what}", data=form, headers=ACCESS)


async def test_a_code_is_approved_once_when_it_is_the_one_that_was_sent(web: Web) -> None:
    status, verification = await verify(web, "Verifications", To=FORM["To"], Channel="sms")
    assert (status, verification["status"], verification["sid"][:2]) == (201, "pending", "VE")
    (item,) = await web.messages(to=FORM["To"])
    code = item["text"].rstrip(".")[-6:]
    _, wrong = await verify(web, "VerificationCheck", To=FORM["To"], Code="no")
    _, right = await verify(web, "VerificationCheck", VerificationSid=verification["sid"], Code=code)
    gone, _ = await verify(web, "VerificationCheck", To=FORM["To"], Code=code)
    assert (wrong["status"], right["status"], right["valid"], gone) == ("pending", "approved", True, 404)


async def test_verification_stops_when_it_is_tried_too_often(web: Web) -> None:
    sends = [await verify(web, "Verifications", To=FORM["To"], Channel="sms") for _ in range(6)]
    checks = [await verify(web, "VerificationCheck", To=FORM["To"], Code="no") for _ in range(6)]
    assert [sends[-1][1]["code"], checks[-1][1]["code"]] == [60203, 60202]
    assert (await verify(web, "Verifications", To="me", Channel="sms"))[1]["code"] == 60200


async def test_a_code_expires_when_ten_minutes_have_passed(tmp_path: Path) -> None:
    now = datetime(2026, 11, 3, 14, tzinfo=UTC)
    async with sandbox(tmp_path, sources=Sources(clock=lambda: now)) as address, web_of(address) as web:
        await verify(web, "Verifications", To=FORM["To"], Channel="sms")
        now += timedelta(minutes=10)
        assert (await verify(web, "VerificationCheck", To=FORM["To"], Code="1"))[0] == 404


async def test_a_callback_to_nobody_does_no_harm_when_the_sandbox_stops(address: SandboxAddress) -> None:
    async with web_of(address) as web:
        status, _ = await send(web, StatusCallback="http://127.0.0.1:1/nobody")
    assert status == 201
