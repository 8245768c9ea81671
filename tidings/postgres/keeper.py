"""The keeper: the server's parent, which lives as long as anyone uses the server.

It is started by the first user, detached from it, and stops the server when the last user has gone:
`python -m tidings.postgres.keeper HOME BINARIES MAJOR LOCK`, where LOCK is the descriptor of the keeper's
lock, already taken, so that there is never a second keeper and never a moment without an owner.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tidings.postgres import cluster, launch, server, sockets
from tidings.postgres.binaries import Binaries
from tidings.postgres.errors import EmbeddedPostgresError, ServerStartError, tail
from tidings.postgres.files import ClusterFiles
from tidings.postgres.locks import EXCLUSIVE, FileLock
from tidings.postgres.state import KeeperState, Notice, Phase

LOOK_SECONDS = 0.1
STARTING_LOOK_SECONDS = 0.01
GRACE_SECONDS = 0.5  # so that short commands in a row find the server still there
BACKOFF_SECONDS = (0.0, 0.2, 0.8, 3.2)  # before the next start, after so many failures in a row
STEADY_SECONDS = 0.5  # a server that was ready for so long has not failed to start: it comes back at once

log = logging.getLogger("tidings.postgres.keeper")


class Users:
    """Whether anyone still holds the users' lock."""

    def __init__(self, path: Path) -> None:
        self._lock = FileLock.open(path)
        self._idle_since: float | None = None

    def have_gone(self) -> bool:
        """True after the grace, and from then on the lock is ours: whoever comes now waits for our end."""
        if not self._lock.acquire(EXCLUSIVE):
            self._idle_since = None
            return False
        now = time.monotonic()
        self._idle_since = now if self._idle_since is None else self._idle_since
        if now - self._idle_since >= GRACE_SECONDS:
            return True
        self._lock.release()
        return False


class Keeper:
    def __init__(self, files: ClusterFiles, binaries: Binaries, told_to_stop: threading.Event) -> None:
        self._files = files
        self._binaries = binaries
        self._told_to_stop = told_to_stop
        self._notice = Notice(files.state)
        self._users = Users(files.users_lock)
        self._run_as = launch.choose_run_as()
        self._sockets = sockets.socket_directory(files.home)
        self._ready_since: float | None = None

    def keep(self) -> None:
        """Raises EmbeddedPostgresError when it gives up, and has said why in the notice by then."""
        try:
            self._prepare()
            self._serve_until_released()
        except (EmbeddedPostgresError, OSError) as error:
            self._notice.publish(KeeperState(Phase.FAILED, reason=str(error)))
            raise
        finally:
            self._remove_sockets()

    def _prepare(self) -> None:
        if self._run_as.uid is not None:
            self._files.home.chmod(0o711)  # the one who runs the server must be able to pass
        sockets.make_private(self._sockets)
        if not self._files.data.exists():
            self._say(Phase.CREATING)
            cluster.create(self._files, self._binaries, self._run_as)
        for tree in (self._files.data, self._sockets):
            launch.give(tree, self._run_as)

    def _serve_until_released(self) -> None:
        failures = 0
        while not self._told_to_stop.is_set():
            self._ready_since = None
            if self._serve_once():
                return
            failures = 1 if self._was_steady() else failures + 1
            if failures > len(BACKOFF_SECONDS):
                raise ServerStartError(f"PostgreSQL ended {failures} times. {tail(self._files.server_log)}")
            self._told_to_stop.wait(BACKOFF_SECONDS[failures - 1])

    def _was_steady(self) -> bool:
        return self._ready_since is not None and time.monotonic() - self._ready_since > STEADY_SECONDS

    def _serve_once(self) -> bool:
        """Whether the server was stopped because it was no longer wanted; otherwise it died."""
        self._say(Phase.STARTING)
        running = server.start(self._files, self._binaries, self._run_as, self._sockets)
        if self._became_ready(running):
            self._ready_since = time.monotonic()
            self._say(Phase.READY, sockets.connection_string(self._sockets))
            self._watch(running)
        if running.poll() is not None:
            log.warning("PostgreSQL ended with status %s", running.returncode)
            return False
        self._notice.withdraw()
        server.stop(running)
        return True

    def _became_ready(self, running: server.Server) -> bool:
        """Recovery after a crash takes the time it takes."""
        while not server.is_ready(running, self._files.data):
            if self._told_to_stop.is_set() or ended_within(running, STARTING_LOOK_SECONDS):
                return False
        return True

    def _watch(self, running: server.Server) -> None:
        while not ended_within(running, LOOK_SECONDS):
            if self._told_to_stop.is_set() or self._users.have_gone():
                return

    def _say(self, phase: Phase, conninfo: str = "") -> None:
        log.info("%s", phase)
        self._notice.publish(KeeperState(phase, conninfo))

    def _remove_sockets(self) -> None:
        with suppress(OSError):  # not empty: an unclean end, which the next start clears
            self._sockets.rmdir()


def ended_within(running: server.Server, seconds: float) -> bool:
    try:
        running.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def stop_on_signals() -> threading.Event:
    told_to_stop = threading.Event()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, lambda *_: told_to_stop.set())
    return told_to_stop


def main(arguments: Sequence[str]) -> int:
    if os.fork():  # the user waits for this process, and never becomes the keeper's parent
        return 0
    home, directory, major, descriptor = arguments
    os.umask(0o077)
    os.set_inheritable(int(descriptor), False)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    keeper = Keeper(
        ClusterFiles(Path(home)), Binaries(Path(directory), int(major)), told_to_stop=stop_on_signals()
    )
    try:
        keeper.keep()
    except (EmbeddedPostgresError, OSError):
        log.exception("The keeper gives up")
        return 1
    log.info("PostgreSQL is stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
