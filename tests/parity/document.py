"""Writes docs/parity.md from the rows."""

from __future__ import annotations

from collections.abc import Iterator

from tests.parity.rows import ROOT, Half, Row, halves

DOCUMENT = ROOT / "docs" / "parity.md"
INTRODUCTION = """\
# Parity

What the systems that Tidings comes from do, row by row, and the test that shows that Tidings does it too.
This page is written by `scripts/parity --write` from `tests/parity/*.toml`. A test keeps it true: every row
is here, and every test named here exists and carries the marker `parity` with the row's id, and the other way
round. Where a row's id ends in a letter, the original has a weak point there, and the test shows it beaten.

Each of these tests has been seen to fail with the behaviour broken. Every row names one or more breakages (a
file, a text that occurs in it once, and what stands there instead), and

```text
scripts/parity --break             # all of them
scripts/parity --break S1.4 WRK-6  # those of some rows
```

copies the tree, runs the tests there, and applies one breakage after another to the copy. Every breakage must
make a test of its row fail, and every test of a row must fail under a breakage of it. Where and how they fail
is printed too: a breakage that only crashes shows nothing. Rows without a test say why.
"""


def document() -> str:
    found = halves()
    return "".join([INTRODUCTION, *(text for half in found for text in _sections(half)), *_later(found)])


def _sections(half: Half) -> Iterator[str]:
    for section, title in half.sections.items():
        yield f"\n## {section}: {title}\n\n"
        yield "| row | what Tidings does | test | where we differ, and why |\n|---|---|---|---|\n"
        yield from (_line(row) for row in half.row if row.section == section and not row.later)


def _line(row: Row) -> str:
    shown = "<br>".join(f"`{test}`" for test in row.tests) or f"nothing to test: {row.untested}"
    return f"| {row.id} | {_cell(row.says)} | {_cell(shown)} | {_cell(row.differs)} |\n"


def _later(found: list[Half]) -> Iterator[str]:
    rows = [row for half in found for row in half.row if row.later]
    if rows:
        yield "\n## Later\n\n| row | why not yet |\n|---|---|\n"
        yield from (f"| {row.id} | {_cell(row.later)} |\n" for row in rows)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
