"""Wait for a server that is ready, by its keeper's word, and start a keeper where there is none."""

import time
from collections.abc import Callable
from pathlib import Path

from tidings.postgres.binaries import find_binaries
from tidings.postgres.cluster import require_same_version
from tidings.postgres.errors import ServerStartError, tail
from tidings.postgres.files import ClusterFiles
from tidings.postgres.locks import EXCLUSIVE, take_if_free
from tidings.postgres.spawn import spawn_keeper
from tidings.postgres.state import KeeperState, Phase, last_state, state_of_living_keeper
from tidings.postgres.waiting import PAUSE

START_SECONDS = 60.0
MOST_KEEPERS = 3  # that may vanish without a word before no more are started

Report = Callable[[str], None]


class Start:
    def __init__(self, files: ClusterFiles, binaries: Path | None, report: Report) -> None:
        self._files = files
        self._binaries = binaries
        self._report = report
        self._reported: Phase | None = None
        self._keeper_seen = False
        self._keepers_started = 0

    def until_ready(self) -> str:
        """The connection string. Raises EmbeddedPostgresError."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            state = state_of_living_keeper(self._files.state)
            if state is not None and state.phase is Phase.READY:
                return state.conninfo
            self._report_progress(state)
            self._start_missing_keeper()
            time.sleep(PAUSE)
        raise ServerStartError(
            f"PostgreSQL is not ready after {START_SECONDS:.0f} s. It may still be recovering: try again. "
            f"{tail(self._files.server_log)}"
        )

    def _report_progress(self, state: KeeperState | None) -> None:
        if state is not None and state.phase not in {self._reported, Phase.FAILED}:
            self._reported = state.phase
            self._report(state.phase)

    def _start_missing_keeper(self) -> None:
        if start_missing_keeper(self._files, self._binaries, unless=self._raise_failure):
            self._keepers_started += 1
        self._keeper_seen = True

    def _raise_failure(self) -> None:
        """Only what a keeper said since this wait began counts; an older failure is tried again."""
        if not self._keeper_seen:
            return
        state = last_state(self._files.state)
        if state is not None and state.phase is Phase.FAILED:
            raise ServerStartError(state.reason)
        if self._keepers_started >= MOST_KEEPERS:
            raise ServerStartError(f"PostgreSQL's keeper keeps vanishing. {tail(self._files.keeper_log)}")


def start_missing_keeper(
    files: ClusterFiles, binaries: Path | None, unless: Callable[[], None] = lambda: None
) -> bool:
    """Whether there was none. `unless` may raise before another one is started."""
    lock = take_if_free(files.keeper_lock, EXCLUSIVE)
    if lock is None:
        return False
    with lock:
        unless()
        found = find_binaries(binaries)
        require_same_version(files, found)
        spawn_keeper(files, found, lock)
    return True
