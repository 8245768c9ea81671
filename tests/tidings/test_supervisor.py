from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tidings.child import ChildCannotStart, ChildPlan
from tidings.listening import free_port
from tidings.supervisor import StopRequests, Supervisor


def children() -> dict[str, int]:
    """Processes that this one started by way of a supervisor: name and id."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().decode().split("\0")
        except OSError:
            continue
        if f"TIDINGS_SUPERVISOR_PID={os.getpid()}" in environment:
            name = next(word for word in environment if word.startswith("TIDINGS_PROCESS="))
            found[name.partition("=")[2]] = int(process.name)
    return found


async def comes_true(condition: Callable[[], bool], within: float = 10.0) -> None:
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - processes tell nobody when they begin
            await asyncio.sleep(0.02)


def sandbox(directory: Path, name: str = "sandbox") -> ChildPlan:
    """The lightest of our processes."""
    place = {
        "TIDINGS_DATA_DIR": str(directory / name),
        "TIDINGS_SANDBOX__SMTP_PORT": str(free_port("127.0.0.1")),
        "TIDINGS_SANDBOX__HTTP_PORT": str(free_port("127.0.0.1")),
    }
    return ChildPlan(name, ("sandbox",), place)


@asynccontextmanager
async def running(*plans: ChildPlan) -> AsyncIterator[StopRequests]:
    stop = StopRequests()
    supervisor = Supervisor([[plan] for plan in plans], stop)
    try:
        assert await supervisor.start()
        yield stop
    finally:
        await supervisor.stop()


@pytest.mark.timeout(60)
async def test_process_is_started_again_when_it_is_killed(tmp_path: Path) -> None:
    async with running(sandbox(tmp_path, "a"), sandbox(tmp_path, "b")):
        before = children()
        assert before.keys() == {"a", "b"}
        os.kill(before["a"], signal.SIGKILL)
        await comes_true(lambda: children().get("a") not in {None, before["a"]})
        assert children()["b"] == before["b"]
    assert children() == {}


@pytest.mark.timeout(60)
async def test_start_fails_when_a_process_has_bad_settings(tmp_path: Path) -> None:
    plan = ChildPlan("worker-1", ("worker",), {"TIDINGS_DATA_DIR": str(tmp_path), "TIDINGS_PORT": "nonsense"})
    with pytest.raises(ChildCannotStart, match="worker-1 cannot start"):
        async with running(plan):
            pass
    assert children() == {}


@pytest.mark.timeout(60)
async def test_start_fails_when_a_process_keeps_dying(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a directory must be")
    plan = ChildPlan("sandbox", ("sandbox",), {"TIDINGS_DATA_DIR": str(tmp_path / "taken")})
    with pytest.raises(ChildCannotStart, match="sandbox cannot start"):
        async with running(plan):
            pass


@pytest.mark.timeout(60)
async def test_start_is_given_up_when_a_stop_is_asked_for(tmp_path: Path) -> None:
    stop = StopRequests()
    supervisor = Supervisor([[sandbox(tmp_path)]], stop)
    stop.ask()
    assert not await supervisor.start()
    await supervisor.stop()
    assert children() == {}


@pytest.mark.timeout(60)
async def test_frozen_process_is_killed_at_once_when_the_stop_is_urgent(tmp_path: Path) -> None:
    async with running(sandbox(tmp_path)) as stop:
        os.kill(children()["sandbox"], signal.SIGSTOP)
        stop.ask()
        stop.ask()
        loop = asyncio.get_running_loop()
        began = loop.time()
    assert loop.time() - began < 5
    assert children() == {}
