"""Options that several commands take, and what they stand for."""

from __future__ import annotations

import os
from typing import Annotated, TypeAlias

import typer

from event_log import failpoints
from tidings.cli import output
from tidings.errors import BadInput, SettingsInvalid
from tidings.logs import configure_logging
from tidings.settings import Settings
from tidings.settings_file import foreign_variables, load_settings

JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
JsonLogOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Write log lines as JSON.")]
UrlOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--url",
        envvar="TIDINGS_URL",
        metavar="URL",
        help="Address of the service; this machine's if not given.",
    ),
]
KeyOption: TypeAlias = Annotated[
    str,
    typer.Option("--key", envvar="TIDINGS_API_KEY", metavar="KEY", help="API key; `tidings keys` makes one."),
]
ReasonOption: TypeAlias = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; stands in the log with the key's id.")
]


def settings_for(process: str, *, json_logs: bool = False) -> Settings:
    """The settings, with logging set up as they say."""
    settings = load_settings()
    form = "json" if json_logs else settings.log_format
    configure_logging(process, level=settings.log_level, form=form)
    _arm_failpoints()
    for name in foreign_variables(os.environ):
        output.warning(f"{name} is no setting of Tidings and is ignored")
    return settings


def _arm_failpoints() -> None:
    """Only tests set this variable: the process is to kill, stop or fail itself somewhere."""
    wishes = os.environ.get("TIDINGS_FAILPOINTS", "")
    if not wishes:
        return
    try:
        failpoints.arm(wishes)
    except ValueError as error:
        raise SettingsInvalid([f"TIDINGS_FAILPOINTS: {error}"]) from None
    output.warning(f"this process will fail on purpose: TIDINGS_FAILPOINTS={wishes}")


def service_url(url: str) -> str:
    return url or f"http://127.0.0.1:{load_settings().port}"


def required_key(key: str) -> str:
    if not key.strip():
        raise BadInput(
            "an API key is needed: give --key or TIDINGS_API_KEY; "
            "`tidings keys create --instance NAME --scope SCOPE` makes one"
        )
    return key.strip()


def process_name(command: str) -> str:
    """What log lines call this process: the supervisor numbers its workers."""
    return os.environ.get("TIDINGS_PROCESS", command)
