"""`tidings handler`: that process alone."""

from __future__ import annotations

import typer

from tidings.cli.options import JsonLogOption, process_name, settings_for
from tidings.handler_process import run_handler_process


def add_to(app: typer.Typer) -> None:
    app.command("handler")(handler)


def handler(*, as_json: JsonLogOption = False) -> None:
    """Turn source events into notifications until it is interrupted; several stand by for each other."""
    run_handler_process(settings_for(process_name("handler"), json_logs=as_json))
