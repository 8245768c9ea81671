"""Load on ``POST /v1/events``: by wrk where it can be had, else by a client of ours in two processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

ROOT = Path(__file__).parent.parent
SCRIPT = Path(__file__).with_name("ingest.lua")
PACKAGES = ("wrk", "libluajit-5.1-2", "libluajit-5.1-common")
OWN_CLIENTS = 2
PATIENCE = 60.0


class Wish(msgspec.Struct, frozen=True):
    url: str
    key: str
    clients: int
    batch: int
    seconds: float
    prefix: str
    """Of the ids of its events: no two loads may share it."""


class Load(msgspec.Struct, frozen=True):
    """What a load came to."""

    requests: int
    seconds: float
    errors: int
    p50_ms: float
    p99_ms: float

    @property
    def per_s(self) -> float:
        return self.requests / self.seconds


class Wrk(msgspec.Struct, frozen=True):
    program: Path
    environment: Mapping[str, str]
    name: str

    def run(self, wish: Wish) -> Load:
        done = subprocess.run(  # noqa: S603  # a load generator that we chose
            [
                self.program, "-t1", f"-c{wish.clients}", f"-d{max(round(wish.seconds), 1)}s",
                "--timeout", "30s", "-s", SCRIPT, wish.url, "--", wish.key, str(wish.batch), wish.prefix,
            ],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )  # fmt: skip
        return _read([done.stdout.splitlines()[-1]])


class OwnClient(msgspec.Struct, frozen=True):
    name: str = "a client of ours in two processes (wrk could not be had)"

    def run(self, wish: Wish) -> Load:
        running = [self._start(wish, number) for number in range(OWN_CLIENTS)]
        told = [process.communicate()[0] for process in running]
        if any(process.returncode for process in running):
            raise RuntimeError("a client failed; what it said stands above")
        return _read(told)

    def _start(self, wish: Wish, number: int) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603  # our own program
            [
                sys.executable, "-m", "benchmarks.http_client", wish.url, wish.key, f"{wish.prefix}-{number}",
                str(wish.batch), str(wish.clients // OWN_CLIENTS), str(wish.seconds),
            ],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip


def _read(told: Sequence[str]) -> Load:
    """Of several clients at once, together."""
    loads = [msgspec.json.decode(json.dumps(json.loads(one)), type=Load) for one in told]
    return Load(
        requests=sum(one.requests for one in loads),
        seconds=max(one.seconds for one in loads),
        errors=sum(one.errors for one in loads),
        p50_ms=max(one.p50_ms for one in loads),
        p99_ms=max(one.p99_ms for one in loads),
    )


def loader() -> Wrk | OwnClient:
    found = shutil.which("wrk")
    if found:
        return Wrk(Path(found), dict(os.environ), "wrk")
    return _unpacked() or OwnClient()


def _unpacked() -> Wrk | None:
    """Debian's package, downloaded once and unpacked beside other caches; never installed."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tidings" / "wrk"
    if not (home / "usr/bin/wrk").exists():
        with suppress(OSError, subprocess.SubprocessError):
            _fetch(home)
    program = home / "usr/bin/wrk"
    libraries = ":".join(sorted({str(file.parent) for file in home.glob("usr/lib/**/*.so*")}))
    made = Wrk(program, os.environ | {"LD_LIBRARY_PATH": libraries}, "wrk of Debian's package")
    return made if program.exists() and _starts(made) else None


def _fetch(home: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        _must_run(["apt-get", "download", *PACKAGES], directory)
        unpacked = Path(directory) / "unpacked"
        for package in Path(directory).glob("*.deb"):
            _must_run(["dpkg-deb", "-x", str(package), str(unpacked)], directory)
        home.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(unpacked, home, dirs_exist_ok=True)


def _must_run(words: Sequence[str], directory: str) -> None:
    subprocess.run(words, cwd=directory, check=True, capture_output=True, timeout=PATIENCE)  # noqa: S603  # Debian's tools


def _starts(made: Wrk) -> bool:
    told = subprocess.run([made.program, "-v"], env=made.environment, capture_output=True, check=False)  # noqa: S603  # as above
    return b"wrk" in told.stdout + told.stderr
