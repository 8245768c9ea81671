"""An api process on a log of one's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from benchmarks.own_log import OwnLog
from tidings.listening import bound_socket, listen, local_url
from tidings.supervised import LISTEN, READY

ROOT = Path(__file__).parent.parent
HOST = "127.0.0.1"
REAL, INSTANT = "tidings", "benchmarks.instant_api"
"""Programs: the api as it is, and one whose intake answers at once."""


class Served(msgspec.Struct, frozen=True):
    url: str
    pid: int


@contextmanager
def served(place: OwnLog, program: str) -> Iterator[Served]:
    """An api process, once it listens."""
    with closing(bound_socket(HOST, 0)) as door:
        listen(door)
        reader, writer = os.pipe()
        process = _start(place, program, {LISTEN: door.fileno(), READY: writer})
        os.close(writer)
        try:
            with os.fdopen(reader) as said:
                if not said.readline():
                    raise RuntimeError(f"{program} did not start; what it said stands above")
            yield Served(local_url(HOST, door.getsockname()[1]), process.pid)
        finally:
            process.terminate()
            process.wait(30)


def _start(place: OwnLog, program: str, descriptors: dict[str, int]) -> subprocess.Popen[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TIDINGS_")}
    ours = {
        "TIDINGS_DATABASE_URL": place.conninfo,
        "TIDINGS_DATA_DIR": str(place.data),
        "PYTHONPATH": str(ROOT),
        **{name: str(number) for name, number in descriptors.items()},
    }
    return subprocess.Popen(  # noqa: S603  # our own program
        [sys.executable, "-m", program, "api"],
        cwd=place.data,
        env=kept | ours,
        pass_fds=list(descriptors.values()),
    )
