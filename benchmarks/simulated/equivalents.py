"""Mutants that nobody can tell from the original: their names, and why, in equivalents.toml."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

LINE = re.compile(r"line \d+: ")
"""What a label has and a name has not."""


@cache
def equivalents() -> dict[str, str]:
    """Reasons by the mutants' names."""
    groups = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())["same"]
    return {name: group["because"] for group in groups for name in group["mutants"]}
