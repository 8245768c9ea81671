"""What commands print: results on standard output, everything else on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDE = 1000
"""In a pipe a line is as wide as it needs to be, so that nothing is cut off."""


def out() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=_WIDE, soft_wrap=True)


def err() -> Console:
    return Console(stderr=True, soft_wrap=True)


def json_line(value: Any) -> None:  # noqa: ANN401 - anything JSON can say
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def say(sentence: str) -> None:
    """A word of progress, for a person."""
    err().print(Text(sentence, style="dim"))


def error(sentence: str) -> None:
    err().print(Text.assemble(("error: ", "bold red"), sentence))


def warning(sentence: str) -> None:
    err().print(Text.assemble(("warning: ", "bold yellow"), sentence))


def table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*row)
    out().print(grid)


def drop_standard_output() -> None:
    """After the reader of a pipe has left: keeps the interpreter from writing to it again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
