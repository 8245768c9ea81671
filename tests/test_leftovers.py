from __future__ import annotations

import ast
import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.leftovers import Leftovers

TESTS = Path(__file__).parent
_LONGEST = 0.1
"""Seconds; whoever looks again and again at what no event reports may pause this long."""


@pytest.fixture
def leftovers(monkeypatch: pytest.MonkeyPatch) -> Leftovers:
    monkeypatch.setattr("tests.leftovers._PATIENCE", 0.05)
    return Leftovers(None)


@pytest.mark.parity("ALL-1")
def test_a_thread_that_nobody_joined_is_found(leftovers: Leftovers) -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait, name="forgotten", daemon=True)
    thread.start()
    (found,) = leftovers.found()
    assert "forgotten" in found
    over.set()
    thread.join()
    assert leftovers.found() == []


@pytest.mark.parity("ALL-1")
def test_a_connection_that_nobody_closed_is_found(leftovers: Leftovers) -> None:
    with socket.create_server(("127.0.0.1", 0)):
        (found,) = leftovers.found()
    assert "socket" in found
    assert leftovers.found() == []


@pytest.mark.parity("ALL-1")
def test_a_task_that_nobody_awaited_is_found() -> None:
    with asyncio.Runner() as runner:
        leftovers = Leftovers(runner)

        async def leave_one() -> asyncio.Task[bool]:
            return asyncio.create_task(asyncio.Event().wait(), name="forgotten")

        task = runner.run(leave_one())
        (found,) = leftovers._tasks()
        assert "forgotten" in found
        task.cancel()


# --- time -----------------------------------------------------------------------------------------


def _sleeps(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"asyncio.sleep", "time.sleep", "sleep"}:
            length = node.args[0]
            if isinstance(length, ast.Constant) and length.value > _LONGEST:
                yield f"{file.relative_to(TESTS)}:{node.lineno} {ast.unparse(node)}"


@pytest.mark.parity("ALL-2")
def test_no_test_waits_for_time_to_pass() -> None:
    assert [found for file in sorted(TESTS.rglob("*.py")) for found in _sleeps(file)] == []
