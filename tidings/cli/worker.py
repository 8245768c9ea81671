"""`tidings worker`: that process alone."""

from __future__ import annotations

import typer

from tidings.cli.options import JsonLogOption, process_name, settings_for
from tidings.worker_process import run_worker_process


def add_to(app: typer.Typer) -> None:
    app.command("worker")(worker)


def worker(*, as_json: JsonLogOption = False) -> None:
    """Deliver notifications until it is interrupted; as many may run as there is work for."""
    run_worker_process(settings_for(process_name("worker"), json_logs=as_json))
