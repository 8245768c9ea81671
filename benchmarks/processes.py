"""Processes as the kernel accounts for them: whose they are, what they used, how large they grew."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

_TICKS = os.sysconf("SC_CLK_TCK")
_OWN = slice(11, 13)
"""User and system time among the fields that follow a process's name (proc_pid_stat(5))."""
_WITH_CHILDREN = slice(11, 15)
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


class Process(msgspec.Struct, frozen=True):
    pid: int
    parent: int
    command: str


def running() -> Iterator[Process]:
    """Every process there is; one that ends meanwhile is left out."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int(_fields(int(entry.name))[1])
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            yield Process(int(entry.name), parent, command.strip())


def is_postmaster(process: Process, data: Path) -> bool:
    """Whether it is the embedded PostgreSQL's first process in that data directory."""
    command = process.command
    return str(data) in command and "/postgres" in command.split(" ")[0] and " -D" in command


def cpu_seconds(pid: int, *, with_ended_children: bool = False) -> float:
    """User and system time so far; 0 of a process that is gone."""
    try:
        fields = _fields(pid)
    except OSError:
        return 0.0
    return sum(map(int, fields[_WITH_CHILDREN if with_ended_children else _OWN])) / _TICKS


def peak_memory(pid: int) -> float:
    """The most MiB it has had resident; 0 of a process that is gone."""
    try:
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def _fields(pid: int) -> list[str]:
    """What follows the name, which may hold anything; raises OSError when it is gone."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
