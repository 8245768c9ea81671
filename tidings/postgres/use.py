"""What users of the embedded server call: hold it, and it runs; the last one to let go stops it."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tidings.postgres.errors import ClusterUnusableError, EmbeddedPostgresError, ServerStartError, tail
from tidings.postgres.files import ClusterFiles, cluster_files
from tidings.postgres.locks import EXCLUSIVE, SHARED, FileLock, take_if_free
from tidings.postgres.start import START_SECONDS, Report, Start, start_missing_keeper
from tidings.postgres.state import Phase, state_of_living_keeper
from tidings.postgres.waiting import comes_true

STOP_SECONDS = 30.0
LOOK_SECONDS = 0.2
LONGEST_LOOK_SECONDS = 5.0

log = logging.getLogger(__name__)


@contextmanager
def embedded_postgres(
    data_directory: Path,
    *,
    report: Report = lambda _: None,
    binaries: Path | None = None,
    wait_for_stop: bool = False,
) -> Iterator[str]:
    """Hold the embedded server for as long as the context lives; yields a libpq connection string.

    When the server or its keeper dies, connections break, and the same string works again shortly after.
    With `wait_for_stop` the last user leaves only when the server has stopped.
    Raises EmbeddedPostgresError.
    """
    files = home_for(data_directory)
    held = lease(files)
    try:
        conninfo = Start(files, binaries, report).until_ready()
        with restarted_when_needed(files, binaries):
            yield conninfo
    finally:
        held.close()
        if wait_for_stop:
            comes_true(lambda: is_stopped(files) or has_other_users(files), within=STOP_SECONDS)


def home_for(data_directory: Path) -> ClusterFiles:
    try:
        return cluster_files(data_directory)
    except OSError as error:
        raise ClusterUnusableError(
            f"{data_directory} cannot hold a database: {error.strerror}. Choose another data directory."
        ) from error


def lease(files: ClusterFiles) -> FileLock:
    """The right to find the server running; a keeper that is stopping it is waited for."""
    held = FileLock.open(files.users_lock)
    if not comes_true(lambda: held.acquire(SHARED), within=START_SECONDS):
        held.close()
        raise ServerStartError(f"The server has been stopping for too long. {tail(files.keeper_log)}")
    return held


@contextmanager
def restarted_when_needed(files: ClusterFiles, binaries: Path | None) -> Iterator[None]:
    """Start another keeper whenever the one there was has died."""
    left = threading.Event()
    watcher = threading.Thread(
        target=watch_keeper, args=(files, binaries, left), name="postgres-keeper-watch", daemon=True
    )
    watcher.start()
    try:
        yield
    finally:
        left.set()
        watcher.join()


def watch_keeper(files: ClusterFiles, binaries: Path | None, left: threading.Event) -> None:
    pause = LOOK_SECONDS
    while not left.wait(pause):
        try:
            if start_missing_keeper(files, binaries):
                log.warning("The keeper of PostgreSQL had died; another one was started")
            pause = LOOK_SECONDS
        except (EmbeddedPostgresError, OSError):
            log.exception("PostgreSQL cannot be started again yet")
            pause = min(2 * pause, LONGEST_LOOK_SECONDS)


def is_stopped(files: ClusterFiles) -> bool:
    lock = take_if_free(files.keeper_lock, EXCLUSIVE)
    if lock is not None:
        lock.close()
    return lock is not None


def has_other_users(files: ClusterFiles) -> bool:
    """A keeper that is stopping holds the users' lock too, but it is ready no more."""
    lock = take_if_free(files.users_lock, EXCLUSIVE)
    if lock is not None:
        lock.close()
        return False
    state = state_of_living_keeper(files.state)
    return state is not None and state.phase is Phase.READY
