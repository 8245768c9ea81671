"""Where everything of one cluster lives, and who may look at it."""

import os
from pathlib import Path

import msgspec

from tidings.postgres.errors import ClusterUnusableError

LOG_LIMIT = 4 * 1024 * 1024


class ClusterFiles(msgspec.Struct, frozen=True):
    """The paths below one directory, `postgres/` in Tidings' data directory."""

    home: Path

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def unfinished(self) -> Path:
        """A cluster in the making: it becomes `data` by a rename, so a half-made one is never used."""
        return self.home / "data.unfinished"

    @property
    def users_lock(self) -> Path:
        return self.home / "users.lock"

    @property
    def keeper_lock(self) -> Path:
        return self.home / "keeper.lock"

    @property
    def state(self) -> Path:
        return self.home / "state.json"

    @property
    def server_log(self) -> Path:
        return self.home / "server.log"

    @property
    def keeper_log(self) -> Path:
        return self.home / "keeper.log"


def cluster_files(data_directory: Path) -> ClusterFiles:
    """Make the cluster's home if there is none, closed to others: its socket asks for no password."""
    home = (data_directory / "postgres").resolve()
    home.parent.mkdir(parents=True, exist_ok=True)
    home.mkdir(mode=0o700, exist_ok=True)
    require_own(home)
    return ClusterFiles(home)


def require_own(directory: Path) -> None:
    owner = directory.lstat().st_uid
    if owner != os.geteuid():
        raise ClusterUnusableError(
            f"{directory} belongs to user {owner}, and this is user {os.geteuid()}. "
            f"Run Tidings as user {owner}, or choose another data directory."
        )


def turn_over(log: Path) -> None:
    """Begin a new log when the old one has grown large; one old log is kept."""
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_name(log.name + ".1"))
