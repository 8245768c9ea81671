"""Starts processes of Tidings in milliseconds: everything is imported once, then forked.

Standard input takes one JSON object a line, ``{"words", "environment", "directory", "log", "planted"}``;
standard output gives ``{"spawned": pid}`` in the same order, then ``{"ready"|"stopped": pid}`` and
``{"ended": pid, "status"}`` as they happen. One thread, so that a fork copies no lock that is held.
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from importlib import import_module
from typing import Any, NoReturn

from benchmarks import planted
from tidings.cli import program
from tidings.supervised import READY
from workers.rendering.render import prepare

_SET_PARENT_DEATH_SIGNAL = 1
_ROLES = ("api", "handler", "worker", "sandbox")


class ForkServer:
    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._ready: dict[int, int] = {}
        """Processes by the pipe on which they will say that they work."""
        self._wake, alarm = socket.socketpair()
        for end in (self._wake, alarm):
            end.setblocking(False)
        self._alarm = alarm
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(alarm.fileno(), warn_on_full_buffer=False)

    def run(self) -> None:
        """Until standard input ends; all children die with this process."""
        self._selector.register(sys.stdin.buffer, selectors.EVENT_READ, self._take)
        self._selector.register(self._wake, selectors.EVENT_READ, self._look)
        self._rest = b""
        while not sys.stdin.buffer.closed:
            for key, _ in self._selector.select():
                key.data()

    def _take(self) -> None:
        octets = os.read(sys.stdin.fileno(), 1 << 16)
        if not octets:
            sys.stdin.buffer.close()
            return
        *lines, self._rest = (self._rest + octets).split(b"\n")
        for line in lines:
            self._spawn(json.loads(line))

    def _spawn(self, wish: dict[str, Any]) -> None:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            _become(wish, writer)
        os.close(writer)
        self._selector.register(reader, selectors.EVENT_READ, lambda: self._hear(reader))
        self._ready[reader] = pid
        _say(spawned=pid)

    def _hear(self, reader: int) -> None:
        said = os.read(reader, 100)
        self._selector.unregister(reader)
        os.close(reader)
        pid = self._ready.pop(reader)
        if said:
            _say(ready=pid)

    def _look(self) -> None:
        self._wake.recv(4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if os.WIFSTOPPED(status):
                _say(stopped=pid)
            else:
                _say(ended=pid, status=os.waitstatus_to_exitcode(status))


def _become(wish: dict[str, Any], ready: int) -> NoReturn:
    """The child's side of a fork: one process of Tidings, as its command starts it."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGKILL))
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setpgid(0, 0)
    log = os.open(wish["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(wish["directory"])
    os.environ.clear()
    os.environ.update(wish["environment"])
    os.environ[READY] = str(ready)
    if wish.get("planted"):
        planted.skip_the_second_intent()
    status = 1
    try:
        status = program.run(wish["words"])
    except BaseException:  # noqa: BLE001  # this process ends here, whatever it is
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _say(**word: int) -> None:
    sys.stdout.write(json.dumps(word) + "\n")
    sys.stdout.flush()


def main() -> None:
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGKILL))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for role in _ROLES:
        import_module(program.COMMANDS[role])
    prepare()
    ForkServer().run()


if __name__ == "__main__":
    main()
