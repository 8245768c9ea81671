"""The program: finds the command, runs it, and turns errors into sentences and an exit status.

Exit status: 0 done, 1 failed, 2 bad usage or settings, 3 no such thing, 4 nothing answers, 130 interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import typer

from event_log.errors import EventLogError, LogUnavailable
from tidings.cli import output
from tidings.errors import FAILED, UNREACHABLE, TidingsError
from tidings.postgres.errors import EmbeddedPostgresError
from tidings.sandbox.errors import SandboxError

COMMANDS = {
    "up": "tidings.cli.up",
    "api": "tidings.cli.api",
    "handler": "tidings.cli.handler",
    "worker": "tidings.cli.worker",
    "sandbox": "tidings.cli.sandbox",
    "migrate": "tidings.cli.migrate",
    "keys": "tidings.cli.keys",
    "append": "tidings.cli.append",
    "notifications": "tidings.cli.notifications",
    "delivery": "tidings.cli.delivery",
    "quarantine": "tidings.cli.quarantine",
    "projections": "tidings.cli.projections",
    "providers": "tidings.cli.providers",
    "settings": "tidings.cli.settings",
}
"""Where each command lives. A process imports its own alone: a rebuild cannot even load a channel."""
INTERRUPTED = 130


def run(words: Sequence[str]) -> int:
    """The exit status."""
    try:
        program(words)(args=list(words), prog_name="tidings", standalone_mode=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        output.drop_standard_output()
        return FAILED
    except (TidingsError, EventLogError, EmbeddedPostgresError, SandboxError) as error:
        return _complain(error)
    return 0


def program(words: Sequence[str]) -> typer.Typer:
    app = typer.Typer(
        add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None
    )
    app.callback(help=HELP)(_nothing)
    for module in _modules(words):
        import_module(module).add_to(app)
    return app


HELP = "Tidings turns things that happen to users into messages that people receive: once, on time, provably."


def _modules(words: Sequence[str]) -> list[str]:
    first = words[0] if words else ""
    return [COMMANDS[first]] if first in COMMANDS else list(COMMANDS.values())


def _nothing() -> None:
    """The program itself does nothing before its command."""


def _complain(error: Exception) -> int:
    for sentence in error.sentences if isinstance(error, TidingsError) else [str(error)]:
        output.error(sentence)
    if isinstance(error, TidingsError):
        return error.status
    return UNREACHABLE if isinstance(error, LogUnavailable) else FAILED
