from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.sandbox.sandbox_clients import Talker, Web, talking_to, web_of
from tidings.sandbox.server import SandboxAddress, sandbox


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[SandboxAddress]:
    async with sandbox(tmp_path) as listening:
        yield listening


@pytest.fixture
async def web(address: SandboxAddress) -> AsyncIterator[Web]:
    async with web_of(address) as client:
        yield client


@pytest.fixture
async def talker(address: SandboxAddress) -> AsyncIterator[Talker]:
    async with talking_to(address) as client:
        yield client
