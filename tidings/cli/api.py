"""`tidings api`: that process alone."""

from __future__ import annotations

import typer

from tidings.api_process import run_api_process
from tidings.cli.options import JsonLogOption, process_name, settings_for


def add_to(app: typer.Typer) -> None:
    app.command("api")(api)


def api(*, as_json: JsonLogOption = False) -> None:
    """Serve the REST API until it is interrupted."""
    run_api_process(settings_for(process_name("api"), json_logs=as_json))
