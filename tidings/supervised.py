"""The child's side of `tidings up`: dies with its supervisor, and says when it runs.

A process that was started by hand has none of these variables and does nothing here.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys

SUPERVISOR = "TIDINGS_SUPERVISOR_PID"
READY = "TIDINGS_READY_FD"
LISTEN = "TIDINGS_LISTEN_FD"
NAME = "TIDINGS_PROCESS"
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux


def follow_the_supervisor() -> None:
    """Ask for SIGTERM at the supervisor's death, and leave at once if it is dead already."""
    supervisor = os.environ.get(SUPERVISOR, "")
    if not supervisor:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != int(supervisor):
        sys.exit(1)


def is_supervised() -> bool:
    return SUPERVISOR in os.environ


def say_ready() -> None:
    """Tell the supervisor, once, that this process does its work now."""
    descriptor = os.environ.pop(READY, "")
    if descriptor:
        with os.fdopen(int(descriptor), "w") as pipe:
            pipe.write("ready\n")


def inherited_sockets() -> list[socket.socket]:
    """Listening sockets that the supervisor bound and holds, so that no caller is refused in a restart."""
    descriptors = os.environ.pop(LISTEN, "")
    return [socket.socket(fileno=int(number)) for number in descriptors.split(",") if number]
