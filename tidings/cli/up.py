"""`tidings up`: everything, on this machine, with one command."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from tidings.announcing import announce_json, announce_lines
from tidings.cli import output
from tidings.cli.options import settings_for
from tidings.up import Voices, run_everything


def add_to(app: typer.Typer) -> None:
    app.command("up")(up)


def up(
    data_dir: Annotated[Path | None, typer.Option(help="Directory for everything kept on disk.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the REST API.")] = None,
    *,
    demo: Annotated[bool, typer.Option("--demo", help="Play a short stream of events once it runs.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object for each line of output.")
    ] = False,
) -> None:
    """Start everything and keep it running until Ctrl-C.

    Starts the embedded PostgreSQL (unless TIDINGS_DATABASE_URL names a server), the sandbox for channels
    without a provider, api, handler and workers. Prints a line that begins with `ready` once all of them run.
    """
    _prefer("TIDINGS_DATA_DIR", data_dir)
    _prefer("TIDINGS_PORT", port)
    settings = settings_for("up", json_logs=as_json)
    voices = Voices(announce_json if as_json else announce_lines, output.say, _proclaim)
    asyncio.run(run_everything(settings, voices, demo=demo))


def _prefer(variable: str, value: object) -> None:
    """An option wins over the environment, for this process and for those it starts."""
    if value is not None:
        os.environ[variable] = str(value)


def _proclaim(line: str) -> None:
    output.err().print(Text(line, style="bold"))
