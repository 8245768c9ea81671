"""`tidings settings`: every setting in force, and where it comes from."""

from __future__ import annotations

from typing import Any

import typer
from rich.text import Text

from tidings.cli import output
from tidings.cli.options import JsonOption
from tidings.settings_file import load_settings
from tidings.settings_listing import SettingInForce, settings_in_force


def add_to(app: typer.Typer) -> None:
    app.command("settings")(show)


def show(*, as_json: JsonOption = False) -> None:
    """Check the settings and show those in force; secrets stay masked."""
    listed = settings_in_force(load_settings())
    if as_json:
        output.json_line(
            {setting.name: {"value": setting.value, "from": setting.source} for setting in listed}
        )
    else:
        output.table(("setting", "value", "from", "variable"), [_row(setting) for setting in listed])


def _row(setting: SettingInForce) -> tuple[str | Text, ...]:
    style = "dim" if setting.source == "default" else "bold green"
    return setting.name, Text(_text(setting.value), style), Text(setting.source, style), setting.variable


def _text(value: Any) -> str:  # noqa: ANN401 - settings are of any kind
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
