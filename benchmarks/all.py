"""Runs the benchmarks one after the other, each as it is, and keeps their last lines in docs/performance/.

Then `scripts/performance` writes the page. With --quick nothing is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.report.bars import MEASURES
from benchmarks.report.page import FIGURES, MACHINE

HERE = Path(__file__).parent


def run(name: str, options: list[str]) -> dict[str, object]:
    """Shows what it prints; its last line. Raises CalledProcessError when it fails."""
    command = [sys.executable, str(HERE / f"{name}.py"), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:  # noqa: S603  # our own
        assert running.stdout
        last = ""
        for line in running.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    if running.returncode:
        raise subprocess.CalledProcessError(running.returncode, command)
    told: dict[str, object] = json.loads(last)
    return told


def machine() -> dict[str, str]:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    processor = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "taken": datetime.now(UTC).date().isoformat(),
        "cores": str(os.cpu_count()),
        "processor": processor[1] if processor else platform.machine(),
        "memory": f"{pages * size / 2**30:.0f} GiB",
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
        "Python": platform.python_version(),
        "PostgreSQL": "the embedded one, fsync on, its data on disk",
    }


def keep(name: str, told: object) -> None:
    FIGURES.mkdir(exist_ok=True)
    (FIGURES / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n")


def main(names: list[str], *, quick: bool) -> int:
    failed = []
    for name in names:
        print(f"== {name}", flush=True)
        try:
            told = run(name, ["--quick"] if quick else [])
        except subprocess.CalledProcessError as error:
            failed.append(f"{name} (status {error.returncode})")
            continue
        if not quick:
            keep(name, told)
            keep(MACHINE, machine())
    print(json.dumps({"ran": len(names) - len(failed), "failed": failed}))
    return bool(failed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(MEASURES), help="which; all of them unless given")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    sys.exit(main(asked.names, quick=asked.quick))
