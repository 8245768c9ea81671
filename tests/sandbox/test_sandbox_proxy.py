from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp

from tests.sandbox.sandbox_clients import Web
from tidings.sandbox.proxy import sandbox_disabled, sandbox_proxy
from tidings.sandbox.server import SandboxAddress


@asynccontextmanager
async def mounted(sandbox_app: ASGIApp) -> AsyncIterator[httpx2.AsyncClient]:
    app = FastAPI()
    app.mount("/sandbox", sandbox_app)
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://public.example"
    ) as client:
        yield client


@pytest.fixture
async def public(address: SandboxAddress) -> AsyncIterator[httpx2.AsyncClient]:
    proxy = sandbox_proxy(address.base_url)
    async with mounted(proxy) as client:
        yield client
    await proxy.close()


async def test_everything_passes_through_when_the_sandbox_answers(
    public: httpx2.AsyncClient, web: Web
) -> None:
    wish = {"channel": "sms", "stage": "request", "action": "refuse", "code": 500}
    assert (await public.post("/sandbox/faults", json=wish)).status_code == 201
    assert (await public.get("/sandbox/faults")).json()["items"][0]["code"] == 500
    assert (await public.delete("/sandbox/faults")).status_code == 204
    assert (await web.get("/sandbox/faults"))["items"] == []
    await web.session.post("/webhook/x", data=b"1")
    listing = (await public.get("/sandbox/messages", params={"to": "/webhook/x", "limit": 5})).json()
    assert listing["items"][0]["text"] == "1"


async def test_problems_pass_through_when_the_sandbox_refuses(public: httpx2.AsyncClient) -> None:
    answer = await public.post("/sandbox/faults", content=b"{")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert (await public.get("/sandbox/messages/a%2Fb%20c?x=%20")).status_code == 404


async def test_a_large_body_passes_through_when_its_length_is_unknown(public: httpx2.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"channel": "email",' + b" " * 300_000
        yield b'"action": "hang"}'

    assert (await public.post("/sandbox/faults", content=chunks())).status_code == 201


async def test_the_page_is_served_when_the_mount_is_opened(public: httpx2.AsyncClient) -> None:
    page = await public.get("/sandbox", follow_redirects=True)
    assert page.headers["content-type"].startswith("text/html")
    assert "Content-Security-Policy" in page.headers
    assert (await public.get("/sandbox/static/sandbox.js")).status_code == 200


async def test_bad_gateway_is_answered_when_the_sandbox_is_away() -> None:
    proxy = sandbox_proxy("http://127.0.0.1:1")
    async with mounted(proxy) as client:
        answer = await client.get("/sandbox/messages")
    await proxy.close()
    assert (answer.status_code, answer.json()["detail"]) == (502, "the sandbox does not answer")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_not_found_is_answered_when_the_sandbox_is_off() -> None:
    async with mounted(sandbox_disabled) as client:
        answer = await client.get("/sandbox/messages")
    assert (answer.status_code, answer.json()["title"]) == (404, "Not Found")
