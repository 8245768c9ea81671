from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree as ET

from benchmarks.report import page
from benchmarks.report.bars import MEASURES
from benchmarks.report.charts import Bar, chart
from benchmarks.timed_worker import STEPS

ROOT = Path(__file__).parents[2]


def test_the_performance_page_tells_the_figures_beside_it() -> None:
    done = subprocess.run([sys.executable, "-m", "benchmarks.report.page", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "docs/performance.md is stale: run scripts/performance"


def test_every_benchmark_with_measures_has_its_place_on_the_page() -> None:
    text = page.PAGE.read_text()
    for name in (*MEASURES, page.MACHINE):
        assert f"<!-- {name}: written by scripts/performance -->" in text
        assert f"<!-- end of {name} -->" in text


def test_a_figure_is_held_to_its_bar() -> None:
    told = {"single_per_s": 3200, "single_ratio": 0.5, "batch_ratio": 0.39}
    lines = page.table("ingest", told).splitlines()
    assert lines[2:] == [
        "| single events a second | 3,200 |  |  |",
        "| of the same without a database | 0.50 | at least 0.50 | held |",
        "| of append at 100 | 0.39 | at least 0.40 | **missed** |",
    ]


def test_a_chart_draws_each_bar_to_scale() -> None:
    drawn = chart("A & B", [Bar("a", 10.0, "10"), Bar("b", 5.0, "5", ours=False)], mark=20.0, marked="goal")
    rectangles = ET.fromstring(drawn).findall("{http://www.w3.org/2000/svg}rect")[1:]
    one, other = (float(rectangle.attrib["width"]) for rectangle in rectangles)
    assert one == 2 * other


def test_every_step_that_is_timed_is_one_of_the_workers() -> None:
    for name in STEPS.values():
        module, _, function = name.partition(":")
        assert callable(getattr(import_module(module), function))
