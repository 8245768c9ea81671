"""`tidings migrate`: brings the database up to date."""

from __future__ import annotations

import typer

from tidings.cli import output
from tidings.cli.options import JsonOption, settings_for
from tidings.composition import bring_up_to_date, database_address


def add_to(app: typer.Typer) -> None:
    app.command("migrate")(migrate)


def migrate(*, as_json: JsonOption = False) -> None:
    """Bring the database up to date, as the user of the database's address."""
    settings = settings_for("migrate")
    with database_address(settings, output.say) as address:
        applied = bring_up_to_date(settings, address, output.say)
    if as_json:
        output.json_line({"applied": applied})
    else:
        output.out().print("\n".join(applied) or "nothing to do: the database is up to date")
