from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tidings.listening import free_port
from tidings.worker_settings import worker_processes

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(180)


class Up:
    """`tidings up --demo`, its standard output in a file."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.url = f"http://127.0.0.1:{port}"
        self.out = directory / "out"
        self.err = directory / "err"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TIDINGS_")}
        paths = {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", "TIDINGS_PORT": str(port)}
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tidings", "up", "--demo", "--data-dir", str(directory / "var")],
                cwd=directory,
                env={**kept, **paths},
                stdout=out,
                stderr=err,
            )

    def ready_lines(self) -> list[str]:
        return [line for line in self.out.read_text().splitlines() if line.startswith("ready ")]

    def wait_until_ready(self) -> None:
        self.shows(lambda: self.ready_lines() or self.process.poll() is not None)
        assert self.process.poll() is None, self.err.read_text()

    def get(self, path: str, key: str = "") -> dict[str, Any]:
        request = urllib.request.Request(
            self.url + path, headers={"Authorization": f"Bearer {key}"} if key else {}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            body: dict[str, Any] = json.loads(answer.read())
            return body

    def messages(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.get("/sandbox/messages")["items"]
        return items

    def shows(self, condition: Callable[[], object], within: float = 60) -> None:
        comes_true(condition, within, lambda: self.out.read_text() + self.err.read_text())

    def parts(self) -> dict[str, int]:
        """Its processes by name."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                environment = (process / "environ").read_bytes().decode().split("\0")
            except OSError:
                continue
            if f"TIDINGS_SUPERVISOR_PID={self.process.pid}" in environment:
                name = next(word for word in environment if word.startswith("TIDINGS_PROCESS="))
                found[name.partition("=")[2]] = int(process.name)
        return found

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(40)


def comes_true(condition: Callable[[], object], within: float, said: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"it did not come true in time\n{said()}"
        time.sleep(0.05)


def nothing_works_in(directory: Path) -> bool:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace")
            where = str((process / "cwd").readlink())
        except OSError:
            continue
        if str(directory) in words or where.startswith(str(directory / "var")):
            return False
    return True


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[[], Up]]:
    port = free_port("127.0.0.1")
    started: list[Up] = []

    def start() -> Up:
        started.append(Up(tmp_path, port))
        started[-1].wait_until_ready()
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
    comes_true(lambda: nothing_works_in(tmp_path), 30)


def test_demo_is_delivered_heals_and_is_found_again(up: Callable[[], Up], tmp_path: Path) -> None:
    first = up()
    first.shows(lambda: len(first.messages()) >= 5)
    first.shows(lambda: "what arrived" in first.out.read_text())
    assert first.ready_lines() == [f"ready {first.url}"]
    assert first.out.read_text().count("\ndelivered ") == 7
    assert "email: sandbox" in first.err.read_text()
    key = (tmp_path / "var" / "demo.key").read_text().strip()
    assert key in first.out.read_text()

    before = first.parts()
    workers = {f"worker-{number}" for number in range(1, worker_processes(None, os.cpu_count() or 1) + 1)}
    assert before.keys() == {"sandbox", "handler", "api"} | workers
    for process in before.values():
        os.kill(process, signal.SIGKILL)
    first.shows(lambda: len(first.parts().items() - before.items()) == len(before), 20)
    first.shows(lambda: answers(first), 20)
    assert len(first.messages()) == 7
    assert first.stop(signal.SIGINT) == 0
    comes_true(lambda: nothing_works_in(tmp_path), 10)

    second = up()
    second.shows(lambda: "already" in second.out.read_text())
    assert "delivered" not in second.out.read_text()
    assert len(second.get("/v1/notifications", key)["items"]) == 7
    assert second.stop(signal.SIGTERM) == 0
    assert "Traceback" not in first.err.read_text() + second.err.read_text()


def answers(one: Up) -> bool:
    try:
        return one.get("/health/ready") == {"status": "ready"} and bool(one.messages())
    except (urllib.error.URLError, OSError):
        return False


def test_everything_ends_when_the_supervisor_is_killed(up: Callable[[], Up], tmp_path: Path) -> None:
    one = up()
    assert one.stop(signal.SIGKILL) == -signal.SIGKILL
    comes_true(lambda: nothing_works_in(tmp_path) and not one.parts(), 20)


def test_second_start_is_refused_while_the_first_one_runs(up: Callable[[], Up], tmp_path: Path) -> None:
    one = up()
    same_place = Up(tmp_path, free_port("127.0.0.1"))
    assert same_place.process.wait(30) == 1
    assert "another `tidings up` runs" in same_place.err.read_text()
    (tmp_path / "other").mkdir()
    same_port = Up(tmp_path / "other", int(one.url.rpartition(":")[2]))
    assert same_port.process.wait(30) == 1
    assert "is in use by another program" in same_port.err.read_text()
    assert one.process.poll() is None
