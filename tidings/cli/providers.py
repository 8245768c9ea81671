"""`tidings providers`: tries what messages leave through, and sets it up."""

from __future__ import annotations

import asyncio
import os
from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from tidings.cli import output, sms_providers
from tidings.cli.options import JsonOption, settings_for
from tidings.errors import TidingsError
from tidings.provider_test import Trial, try_provider


class ChannelName(StrEnum):
    EMAIL = "email"
    SMS = "sms"


def add_to(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Set up and try the providers.")
    group.command("test")(try_one)
    sms_providers.add_to(group)
    app.add_typer(group, name="providers")


def try_one(
    channel: Annotated[ChannelName, typer.Option(help="email or sms.")],
    to: Annotated[
        str, typer.Option("--to", metavar="ADDRESS", help="Mail address, or number such as +41791234567.")
    ],
    *,
    as_json: JsonOption = False,
) -> None:
    """Send a test message and show what the provider really says."""
    settings = settings_for("providers")
    trial = asyncio.run(try_provider(settings, channel.value, to, os.urandom))
    if as_json:
        output.json_line(trial)
    else:
        _print(trial)
    if not trial.delivered:
        raise TidingsError(f"the test message was not delivered by {trial.provider}")


def _print(trial: Trial) -> None:
    colour = "green" if trial.delivered else "red"
    output.out().print(Text.assemble((trial.outcome, colour), f" by {trial.provider}"))
    rows = [
        ("stage", trial.stage),
        ("answer", trial.answer),
        ("message id", trial.message_id),
        ("advice", trial.advice),
    ]
    for name, value in rows:
        if value:
            output.out().print(Text.assemble((f"{name:11} ", "dim"), value))
