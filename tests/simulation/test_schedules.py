from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from benchmarks.simulated import mutants, planted, sql_mutants
from benchmarks.simulated.equivalents import equivalents
from benchmarks.simulated.options import draw_later
from benchmarks.simulated.patches import RealityTouched, standing
from benchmarks.simulated.schedule import Report, replay, run

ROOT = Path(__file__).parent.parent.parent
BITES = {
    "no second intent": 20,
    "lease without fence": 200,
    "park means resend": 1000,
    "a lost transmission is not announced": 100,
    "no write-back": 20,
    "tracking moves outside the transaction": 100,
    "answered before the commit": 20,
    "poison is passed over without a record": 100,
}
"""A few planted bugs, and the seeds in which each must be found; the benchmark takes them all."""
_DIGESTS = """
from benchmarks.simulated.schedule import run
print(*(run(seed).digest for seed in range(100, 115)))
"""


def first_found(seeds: int) -> Report | None:
    reports = (run(seed) for seed in range(seeds))
    return next((report for report in reports if report.violations), None)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("first", [0, 100])
def test_schedules_break_no_promise(first: int) -> None:
    with standing():
        reports = [run(seed) for seed in range(first, first + 100)]
    assert [(report.seed, report.violations) for report in reports if report.violations] == []
    assert sum(report.crashes for report in reports) > 200
    assert len({report.digest for report in reports}) == len(reports)


@pytest.mark.parametrize(
    ("seed", "later"),
    [
        (6553, True),
        (26458, True),
        (41771, False),
        (8110, False),
        (19130, False),
        (28693, False),
        (32806, False),
    ],
)
def test_schedules_that_once_found_a_bug_stay_clean(seed: int, later: bool) -> None:
    """The older ones have nothing of what came in later, and so are the schedules that they were."""
    assert bool(draw_later(Random(seed + 5))) == later
    with standing():
        assert run(seed).violations == ()


@pytest.mark.parametrize("mended", [0.0, 1.0])
@pytest.mark.parametrize("seed", [65458, 73295, 88174])
def test_what_waits_for_long_comes_to_its_end(seed: int, mended: float) -> None:
    """Behind poison by its redrive once that is understood, else when its time is over."""
    with standing():
        assert run(seed, {"mended": mended}).violations == ()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", BITES)
def test_a_planted_bug_is_found(name: str) -> None:
    with standing(), planted.planted(name):
        assert first_found(BITES[name]) is not None


def test_the_same_seed_is_the_same_schedule() -> None:
    assert [run(7, trace=True) for _ in range(3)] == [run(7, trace=True)] * 3


@pytest.mark.timeout(60)
def test_no_order_of_hashes_changes_a_schedule() -> None:
    answers = [
        subprocess.run(
            [sys.executable, "-c", _DIGESTS],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert answers[0] == answers[1]
    assert len(set(answers[0].split())) == 15


def test_a_schedule_can_be_told() -> None:
    lines = list(replay(3))
    assert any("option crash" in line for line in lines)
    assert any("notification.requested" in line for line in lines)
    assert any("healed" in line for line in lines)


def test_the_real_clock_and_real_chance_are_refused_during_a_run() -> None:
    with standing():
        for ask in (time.time, time.monotonic, lambda: os.urandom(1)):
            with pytest.raises(RealityTouched):
                ask()
    assert time.time() > 0


def test_every_mutant_said_to_be_equivalent_is_one_that_is_made() -> None:
    made = [one.name for one in mutants.all_mutants()] + [one.name for one in sql_mutants.all_sql_mutants()]
    assert set(equivalents()) - set(made) == set()
    assert len(made) > 700


def test_there_are_enough_planted_bugs() -> None:
    assert len(planted.names()) >= 20
    for name in planted.names():
        with planted.planted(name):
            pass
