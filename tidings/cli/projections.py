"""`tidings projections`: how far each has come, and rebuilding one from the log. It cannot send."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from projections import rebuild as rebuilding
from projections.rebuilding.errors import NotRebuildable, RebuildError
from projections.standing import Standing, standing
from tidings.cli import output
from tidings.cli.options import JsonOption, settings_for
from tidings.composition import clock, owners_log, prepared_log
from tidings.errors import BadInput, TidingsError


def add_to(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Look at projections and rebuild them from the log.")
    group.command("list")(show_list)
    group.command("rebuild")(rebuild)
    app.add_typer(group, name="projections")


def show_list(*, as_json: JsonOption = False) -> None:
    """Show how far each projection has come in the log."""
    with (
        prepared_log(settings_for("projections"), "projections") as log,
        log.database.connection() as connection,
    ):
        found = standing(connection, clock())
    if as_json:
        output.json_line(found)
    else:
        output.table(("projection", "position", "behind"), _rows(found))
        output.say(
            f"log at {found.head}; {found.open_notifications} notifications open, {found.due} due, "
            f"{found.quarantined} events in quarantine"
        )


def _rows(found: Standing) -> list[tuple[str, str, str]]:
    known = sorted(found.positions.items())
    return [(name, str(position), str(found.head - position)) for name, position in known]


def rebuild(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"{', '.join(rebuilding.REBUILDABLE)}.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Fill a projection's table anew from the log and swap it in, while everything goes on running."""
    with owners_log(settings_for("projections"), "rebuild") as log, _progress() as report:
        rebuilt = _rebuilt(lambda: rebuilding.rebuild(log, name, report=report))
    if as_json:
        output.json_line(rebuilt)
        return
    verdict = "the same rows as before" if rebuilt.equal else "not the same rows as before"
    output.out().print(f"{name}: {rebuilt.rows} rows from {rebuilt.events} events, {verdict}")
    output.out().print(f"content hash {rebuilt.content_hash}")


def _rebuilt(run: Callable[[], rebuilding.Rebuilt]) -> rebuilding.Rebuilt:
    try:
        return run()
    except NotRebuildable as error:
        raise BadInput(str(error)) from None
    except RebuildError as error:
        raise TidingsError(str(error)) from None


@contextmanager
def _progress() -> Iterator[rebuilding.Report]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=output.err()) as shown:
        bar = shown.add_task("reading the log", total=None)

        def report(progress: rebuilding.Progress) -> None:
            shown.update(bar, description=progress.phase, total=progress.head, completed=progress.position)

        yield report
