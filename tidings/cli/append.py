"""`tidings append`: events from a file, over REST."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tidings.appending import Appending, Line, append_lines
from tidings.cli import output
from tidings.cli.options import JsonOption, KeyOption, UrlOption, required_key, service_url
from tidings.errors import BadInput, TidingsError
from tidings.rest import Service


def add_to(app: typer.Typer) -> None:
    app.command("append")(append)


def append(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="CloudEvents, one JSON object a line; - is standard input.")
    ],
    url: UrlOption = "",
    key: KeyOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Append events. Doing it twice is harmless: an event with the same source and id is stored once."""
    key = required_key(key)
    with _opened(file) as (lines, total):
        done = asyncio.run(_append(Service(service_url(url), key), lines, total))
    _report(done, as_json=as_json)
    if done.refused:
        raise TidingsError(f"{_lines(len(done.refused))} refused; the others are appended")


async def _append(service: Service, lines: BinaryIO, total: int | None) -> Appending:
    columns = (TextColumn("appending"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    async with service:
        with Progress(*columns, console=output.err(), transient=True) as shown:
            bar = shown.add_task("appending", total=total)

            def progress(batch: Sequence[Line]) -> None:
                shown.update(bar, completed=batch[-1].number)

            return await append_lines(service, lines, progress)


@contextmanager
def _opened(file: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """The lines, and how many they are where that can be known beforehand."""
    if file == "-":
        yield sys.stdin.buffer, None
        return
    try:
        with Path(file).open("rb") as opened:
            total = sum(1 for _ in opened)
            opened.seek(0)
            yield opened, total
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}") from None


def _report(done: Appending, *, as_json: bool) -> None:
    for refused in done.refused:
        output.warning(f"line {refused.line}: {refused.detail}")
    if as_json:
        output.json_line(done)
    else:
        output.out().print(
            f"{done.appended} appended, {done.duplicates} duplicates, {len(done.refused)} refused"
        )


def _lines(count: int) -> str:
    return "1 line was" if count == 1 else f"{count} lines were"
