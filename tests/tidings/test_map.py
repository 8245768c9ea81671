from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_map_lists_every_module_as_it_is() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / "map"), "--check"], check=False)
    assert done.returncode == 0, "docs/map.md is stale: run scripts/map"


def test_every_file_the_documents_link_to_is_there() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_every_test_the_map_names_is_there() -> None:
    for name in re.findall(r"`((?:tests|benchmarks)/[\w/.]+)`", (ROOT / "docs" / "map.md").read_text()):
        assert (ROOT / name).exists(), name
