"""`tidings sandbox`: the stand-in for providers, by itself."""

from __future__ import annotations

from typing import Annotated

import typer

from tidings.cli import output
from tidings.cli.options import JsonOption, process_name, settings_for
from tidings.running import run_fast
from tidings.sandbox_process import run_sandbox_process
from tidings.sandbox_use import sandbox_place
from tidings.settings_file import load_settings
from tidings.supervised import is_supervised


def add_to(app: typer.Typer) -> None:
    app.command("sandbox")(sandbox)


def sandbox(
    address: Annotated[
        bool, typer.Option("--address", help="Only say where the configured sandbox listens.")
    ] = False,
    *,
    as_json: JsonOption = False,
) -> None:
    """Run the sandbox until it is interrupted: a mail server, a Twilio look-alike and a page."""
    if address:
        _print_address(as_json=as_json)
    else:
        run_fast(
            run_sandbox_process(
                settings_for(process_name("sandbox")), _announce_json if as_json else _announce
            )
        )


def _print_address(*, as_json: bool) -> None:
    place = sandbox_place(load_settings())
    if as_json:
        output.json_line({"sandbox": place})
    else:
        output.out().print(
            f"{place.base_url}/sandbox" if place else "the sandbox is off, or its ports are free ones"
        )


def _announce(base_url: str, smtp_port: int) -> None:
    if is_supervised():
        return  # its pages stand beside the API's
    output.out().print(f"sandbox at {base_url}/sandbox, SMTP on port {smtp_port}")


def _announce_json(base_url: str, smtp_port: int) -> None:
    output.json_line({"base_url": base_url, "page": f"{base_url}/sandbox", "smtp_port": smtp_port})
