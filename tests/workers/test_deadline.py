from __future__ import annotations

import asyncio

import pytest

from workers.channels.deadline import Deadline


async def test_it_rings_when_it_has_passed() -> None:
    rung = asyncio.Event()
    deadline = Deadline(rung.set)
    deadline.move(0.01)
    assert not deadline.passed
    await rung.wait()
    assert deadline.passed


@pytest.mark.parametrize("before", [0.01, 600.0], ids=["an earlier one", "a later one"])
async def test_only_the_last_wait_counts_when_it_was_moved(before: float) -> None:
    loop, rung = asyncio.get_running_loop(), asyncio.Event()
    deadline = Deadline(rung.set)
    deadline.move(before)
    began = loop.time()
    deadline.move(0.1)
    async with asyncio.timeout(10):
        await rung.wait()
    assert loop.time() - began >= 0.09
    assert deadline.passed


async def test_a_new_wait_begins_when_the_last_one_is_over() -> None:
    rung = asyncio.Event()
    deadline = Deadline(rung.set)
    for _ in range(2):
        deadline.move(0.01)
        assert not deadline.passed
        await rung.wait()
        rung.clear()


async def test_it_never_rings_when_it_was_lifted() -> None:
    rung, later = asyncio.Event(), asyncio.Event()
    deadline = Deadline(rung.set)
    deadline.move(0.01)
    deadline.lift()
    other = Deadline(later.set)
    other.move(0.05)
    await later.wait()
    assert not rung.is_set()
    assert not deadline.passed
