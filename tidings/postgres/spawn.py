"""Start a keeper, detached from the process that happens to need one first."""

import os
import subprocess
import sys
from pathlib import Path

from tidings.postgres.binaries import Binaries
from tidings.postgres.errors import ServerStartError, tail
from tidings.postgres.files import ClusterFiles, turn_over
from tidings.postgres.launch import environment
from tidings.postgres.locks import FileLock

ROOT = Path(__file__).parents[2]  # from where `tidings` is imported


def spawn_keeper(files: ClusterFiles, binaries: Binaries, keeper_lock: FileLock) -> None:
    """Hand the lock over. The keeper has a session of its own, so no terminal's Ctrl-C reaches it."""
    turn_over(files.keeper_log)
    files.state.unlink(missing_ok=True)
    handed = (files.home, binaries.directory, binaries.major, keeper_lock.descriptor)
    with files.keeper_log.open("ab") as log:
        answer = subprocess.run(  # noqa: S603 - this very interpreter
            [sys.executable, "-m", "tidings.postgres.keeper", *map(str, handed)],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=keeper_environment(),
            pass_fds=[keeper_lock.descriptor],
            start_new_session=True,
        )
    if answer.returncode != 0:
        raise ServerStartError(f"The keeper of PostgreSQL did not start. {tail(files.keeper_log)}")


def keeper_environment() -> dict[str, str]:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return environment() | {"PYTHONPATH": os.pathsep.join(paths)}
