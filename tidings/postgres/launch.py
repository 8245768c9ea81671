"""Start PostgreSQL's programs as someone who is not root, and never let them outlive their parent."""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import msgspec

UNPRIVILEGED = 65534
PR_SET_PDEATHSIG = 1
PASSED_ON = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH")  # and no secrets: the server needs none


class RunAs(msgspec.Struct, frozen=True):
    """PostgreSQL refuses root, and users without a name: they go through a user namespace.

    Where there are no user namespaces, root gives the process to another user.
    """

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    @property
    def owner(self) -> int:
        """The user who must own the cluster's files, as seen from outside."""
        return os.geteuid() if self.uid is None else self.uid


def choose_run_as() -> RunAs:
    if os.geteuid() != 0 and has_name(os.geteuid()):
        return RunAs()
    unshare = shutil.which("unshare")
    prefix = (str(unshare), "--user", f"--map-user={UNPRIVILEGED}", f"--map-group={UNPRIVILEGED}")
    if unshare and succeeds([*prefix, "true"]):
        return RunAs(prefix)
    if os.geteuid() != 0:
        return RunAs()
    nobody = pwd.getpwnam("nobody")
    return RunAs(uid=nobody.pw_uid, gid=nobody.pw_gid)


def has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def succeeds(command: Sequence[str]) -> bool:
    answer = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - our own words
    return answer.returncode == 0


def start(run_as: RunAs, command: Sequence[str], *, output: IO[bytes] | int) -> subprocess.Popen[bytes]:
    """Start a child that is interrupted (a fast, clean shutdown) when this process dies.

    The kernel ties that to the calling *thread*: call it from the main one.
    """
    dropped = run_as.uid is not None
    return subprocess.Popen(  # noqa: S603 - PostgreSQL's own programs
        [*run_as.prefix, *command],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=environment(),
        user=run_as.uid,
        group=run_as.gid,
        extra_groups=[] if dropped else None,
        preexec_fn=falls_with(os.getpid()),  # noqa: PLW1509 - the keeper has one thread
    )


def run(run_as: RunAs, command: Sequence[str], instructions: bytes = b"") -> tuple[int, str]:
    """The exit status, and everything the program said."""
    with start(run_as, command, output=subprocess.PIPE) as child:
        said, _ = child.communicate(instructions)
    return child.returncode, said.decode(errors="replace")


def falls_with(parent: int) -> Callable[[], None]:
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def arrange() -> None:
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
        if os.getppid() != parent:  # it died before it could be watched
            raise ProcessLookupError

    return arrange


def environment() -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return passed_on | {"LC_ALL": "C.UTF-8"}


def give(tree: Path, run_as: RunAs) -> None:
    """Make a tree the server's own; nothing to do unless the way root runs it has changed."""
    if tree.stat().st_uid == run_as.owner:
        return
    for directory, _, names in os.walk(tree):
        for path in (directory, *(os.path.join(directory, name) for name in names)):  # noqa: PTH118 - bulk
            os.chown(path, run_as.owner, -1 if run_as.gid is None else run_as.gid, follow_symlinks=False)
