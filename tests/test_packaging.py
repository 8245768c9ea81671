"""Our top-level names are generic ones: nothing else in the environment may bear them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMES = ("notification_domain", "event_log", "projections", "workers", "api", "tidings", "migrations")
LOCKS = ("run.lock", "dev.lock")


@pytest.mark.parametrize("name", NAMES)
def test_name_is_nobody_elses_when_imported_from_elsewhere(name: str, tmp_path: Path) -> None:
    # -I shuts out the working directory and PYTHONPATH: only an installed package could answer.
    answer = subprocess.run(
        [sys.executable, "-I", "-c", f"import {name}; print({name}.__file__ or '')"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    if answer.returncode == 0:
        assert Path(answer.stdout.strip()).is_relative_to(ROOT / name)
    else:
        assert f"No module named '{name}'" in answer.stderr


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_and_hashed(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text()
    requirements = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"(?m)^\s*#.*\n?", "", text))
    assert len(requirements) > 20
    for requirement in requirements:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z0-9,-]+\])?==[^\s;\\]+", requirement), requirement
        assert "--hash=sha256:" in requirement, requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_no_index_is_named_in_a_lock(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text()
    assert "://" not in text
    assert not re.search(r"(?m)^\s*-(-index|-extra|-find|-trusted|i|f)", text)


def test_what_runs_is_what_is_tested() -> None:
    run, dev = (
        dict(re.findall(r"(?m)^([A-Za-z0-9._-]+)==(\S+)", (ROOT / "requirements" / lock).read_text()))
        for lock in LOCKS
    )
    assert run.items() <= dev.items()


@pytest.mark.parametrize("script", ["setup", "run", "test", "check", "lock", "bench"])
def test_script_is_a_posix_one_and_may_be_run(script: str) -> None:
    file = ROOT / "scripts" / script
    assert file.stat().st_mode & 0o111 == 0o111
    assert file.read_text().startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", str(file)], check=True, timeout=20)
