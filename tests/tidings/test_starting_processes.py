"""A database that cuts the connection while a process starts: a sentence, and the status that says so."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.tidings.worker_processes import started
from tidings.errors import UNREACHABLE

pytestmark = pytest.mark.timeout(60)


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize("word", ["worker", "handler"])
async def test_a_connection_that_is_cut_at_the_start_is_told_in_a_sentence(tmp_path: Path, word: str) -> None:
    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        conninfo = f"postgresql://tidings@127.0.0.1:{port}/tidings"
        async with started(tmp_path, conninfo, 25, word) as process:
            assert await process.ends(within=40) == UNREACHABLE
    assert "Traceback" not in process.said()
    (sentence,) = process.said().strip().splitlines()
    assert "closed the connection" in sentence
