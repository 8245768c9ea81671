"""One run of the server: start, ready, stop, and what an earlier run may have left behind."""

import os
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tidings.postgres import launch
from tidings.postgres.binaries import Binaries
from tidings.postgres.cluster import server_command
from tidings.postgres.files import ClusterFiles, turn_over
from tidings.postgres.sockets import PORT
from tidings.postgres.waiting import comes_true

STATUS_LINE = 7  # of postmaster.pid, where the server writes "starting", "ready" or "stopping"
FAST_SECONDS = 20.0  # for a clean shutdown, which writes everything out
FORCED_SECONDS = 3.0
ORPHAN_SECONDS = 1.0  # in which the children of a dead postmaster notice its death

Server = subprocess.Popen[bytes]


def start(files: ClusterFiles, binaries: Binaries, run_as: launch.RunAs, sockets: Path) -> Server:
    clear_leftovers(files.data, sockets)
    turn_over(files.server_log)
    with files.server_log.open("ab") as log:
        server = launch.start(run_as, server_command(files, binaries, sockets), output=log)
    assert server.stdin is not None
    server.stdin.close()
    return server


def is_ready(server: Server, data: Path) -> bool:
    lines = pid_file_lines(data)
    if len(lines) <= STATUS_LINE or lines[0] != str(server.pid):
        return False
    return lines[STATUS_LINE].strip() == "ready"


def pid_file_lines(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def stop(server: Server) -> None:
    """Fast and clean; with force where that takes too long."""
    for signum, seconds in ((signal.SIGINT, FAST_SECONDS), (signal.SIGQUIT, FORCED_SECONDS)):
        server.send_signal(signum)
        if comes_true(lambda: server.poll() is not None, within=seconds):
            return
    server.kill()
    server.wait()


def clear_leftovers(data: Path, sockets: Path) -> None:
    """End what is left of an earlier run, then remove its pid file.

    The number in that file may be anybody's by now: a process of this cluster is known by its working
    directory. Where that cannot be seen, PostgreSQL itself judges whether the file is stale.
    """
    lines = pid_file_lines(data)
    if not lines or not Path("/proc/self/cwd").exists():
        return
    end_inhabitants(data, postmaster=int(lines[0]))
    (data / "postmaster.pid").unlink(missing_ok=True)
    for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
        (sockets / name).unlink(missing_ok=True)


def end_inhabitants(data: Path, postmaster: int) -> None:
    """The postmaster is asked to stop cleanly; orphans, which have none to ask, are told to quit."""
    seconds = ORPHAN_SECONDS
    if postmaster in inhabitants(data):
        signal_all([postmaster], signal.SIGINT)
        seconds = FAST_SECONDS
    for signum in (signal.SIGQUIT, signal.SIGKILL):
        if comes_true(lambda: not inhabitants(data), within=seconds):
            return
        signal_all(inhabitants(data), signum)
        seconds = FORCED_SECONDS


def inhabitants(data: Path) -> list[int]:
    """The processes that work in this directory; those of other users cannot be seen."""
    place = data.resolve()
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if works_in(entry, place)]


def works_in(process: Path, directory: Path) -> bool:
    try:
        return (process / "cwd").readlink() == directory
    except OSError:
        return False


def signal_all(pids: Iterable[int], signum: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, signum)
        except ProcessLookupError:
            continue
