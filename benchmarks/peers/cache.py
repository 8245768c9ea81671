"""What benchmarks compare with, installed once into a directory of its own and kept between runs.

Never into the project's environment. Where packages come from is the machine's own business.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import msgspec

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CACHE = ROOT / ".cache" / "benchmarks"
INSTALL_SECONDS = 300.0
_SYSTEM = os.pathsep.join(("/usr/local/sbin", "/usr/sbin", "/sbin"))


class Missing(msgspec.Struct, frozen=True):
    """What could not be had, and why, for a person."""

    why: str


class Postfix(msgspec.Struct, frozen=True):
    """Debian's test programs for SMTP, and what they need in their environment."""

    sink: str
    source: str
    origin: str
    environment: dict[str, str] = {}


Report: TypeAlias = Callable[[str], None]


def python_peers(report: Report) -> Path | Missing:
    """The interpreter of a virtual environment that holds the Python peers."""
    home, wanted = CACHE / "python", HERE / "requirements.txt"
    interpreter = home / "bin" / "python"
    pip = [str(interpreter), "-m", "pip", "install", "--no-deps", "--no-input", "--disable-pip-version-check"]
    commands = [[sys.executable, "-m", "venv", "--clear", str(home)], [*pip, "-r", str(wanted)]]
    return _installed(home, wanted, commands, report) or interpreter


def node_peers(report: Report) -> Path | Missing:
    """The ``node_modules`` directory with the peers that run on Node."""
    if not (shutil.which("node") and shutil.which("npm")):
        return Missing("Node and npm are not installed")
    home, wanted = CACHE / "node", HERE / "package.json"
    npm = ["npm", "install", "--prefix", str(home), "--no-audit", "--no-fund", "--no-package-lock"]
    commands = [["cp", str(wanted), str(home)], npm]
    return _installed(home, wanted, commands, report) or home / "node_modules"


def postfix(report: Report) -> Postfix | Missing:
    """On this machine, else unpacked from Debian's package: nothing is installed, no server is needed."""
    path = os.pathsep.join((os.environ.get("PATH", ""), _SYSTEM))
    sink, source = shutil.which("smtp-sink", path=path), shutil.which("smtp-source", path=path)
    if sink and source:
        return Postfix(sink, source, "of this machine")
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return Missing("smtp-sink and smtp-source are not installed, and this is no Debian to get them from")
    home = CACHE / "postfix"
    script = 'cd "$0" && rm -f postfix_*.deb && apt-get download postfix && dpkg-deb -x postfix_*.deb .'
    missing = _installed(home, Path(__file__), [["sh", "-c", script, str(home)]], report)
    programs, libraries = home / "usr" / "sbin", home / "usr" / "lib" / "postfix"
    environment = {"LD_LIBRARY_PATH": str(libraries)}
    unpacked = Postfix(
        str(programs / "smtp-sink"),
        str(programs / "smtp-source"),
        "from Debian's package, unpacked",
        environment,
    )
    return missing or unpacked


def _installed(home: Path, wanted: Path, commands: Sequence[Sequence[str]], report: Report) -> Missing | None:
    """Run the commands unless they succeeded before for the same file; None when all is there."""
    checksum = hashlib.sha256(wanted.read_bytes()).hexdigest()
    home.mkdir(parents=True, exist_ok=True)
    stamp, story = home.with_suffix(".installed"), home.with_suffix(".log")
    with _alone(home.with_suffix(".lock")):
        if stamp.exists() and stamp.read_text() == checksum:
            return None
        stamp.unlink(missing_ok=True)
        report(f"installing {home.name} peers into {home.relative_to(ROOT)} …")
        with story.open("w") as log:
            if not all(_succeeds(command, log.fileno()) for command in commands):
                return Missing(f"it could not be installed; {story.relative_to(ROOT)} tells the story")
        stamp.write_text(checksum)
        return None


def _succeeds(command: Sequence[str], log: int) -> bool:
    try:
        done = subprocess.run(  # noqa: S603  # our own words
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False, timeout=INSTALL_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
