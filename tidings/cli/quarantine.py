"""`tidings quarantine`: events that could not be digested, of all instances, straight from the database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from event_log.log import Log
from projections import quarantine
from projections.quarantine import SetAside
from projections.redrive import Redriven, redrive
from tidings.cli import output
from tidings.cli.options import JsonOption, settings_for
from tidings.composition import clock, prepared_log
from tidings.errors import NotFound, TidingsError
from tidings.handler_process import deployment

_PAGE = 500


def add_to(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Look at events in quarantine and handle them again.")
    group.command("list")(show)
    group.command("redrive")(handle_again)
    app.add_typer(group, name="quarantine")


def show(
    instance: Annotated[str, typer.Option("--instance", metavar="NAME", help="Only this instance's.")] = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """List what could not be digested, and what waits behind it."""
    with prepared_log(settings_for("quarantine"), "quarantine") as log:
        found = list(_all(log, instance or None))
    if as_json:
        output.json_line({"items": found})
    else:
        _print(found)


def handle_again(
    position: Annotated[int, typer.Argument(metavar="POSITION", help="As `quarantine list` shows it.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Handle a frozen stream again, from its first event in quarantine on.

    Exit status 1: something of it still cannot be digested; 3: nothing is in quarantine there.
    """
    settings = settings_for("quarantine")
    with prepared_log(settings, "quarantine") as log:
        redriven = redrive(log, position, None, clock, deployment(settings))
    if redriven is None:
        raise NotFound(f"nothing is in quarantine at position {position}")
    if as_json:
        output.json_line(redriven)
    _tell(redriven, as_json=as_json)


def _all(log: Log, instance: str | None) -> Iterator[SetAside]:
    after = 0
    with log.database.connection() as connection:
        while page := quarantine.page(connection.cursor(), instance, after, _PAGE):
            yield from page
            after = page[-1].position


def _tell(redriven: Redriven, *, as_json: bool) -> None:
    if redriven.remaining:
        waiting, first = len(redriven.remaining), redriven.remaining[0]
        raise TidingsError(f"{waiting} events still wait; the one at {first.position}: {first.reason}")
    if not as_json:
        output.out().print(f"{len(redriven.handled)} events handled; their stream goes on", highlight=False)


def _print(found: Sequence[SetAside]) -> None:
    if not found:
        output.out().print("nothing is in quarantine")
        return
    rows = [
        (str(one.position), one.instance, one.type, f"{one.quarantined_at:%Y-%m-%d %H:%M:%S}", one.reason)
        for one in found
    ]
    output.table(("position", "instance", "event", "since", "reason"), rows)
