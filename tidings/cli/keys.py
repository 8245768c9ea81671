"""`tidings keys`: API keys, straight from the database."""

from __future__ import annotations

import os
import re
from typing import Annotated, TypeAlias

import typer

from event_log.api_keys import SCOPES, ApiKey, create_key, list_keys, revoke_key
from event_log.intake import ensure_instance
from tidings.cli import output
from tidings.cli.options import JsonOption, settings_for
from tidings.composition import clock, prepared_log, quiet
from tidings.errors import BadInput, NotFound

_INSTANCE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

InstanceOption: TypeAlias = Annotated[
    str, typer.Option("--instance", metavar="NAME", help="Instance the key is for.")
]


def add_to(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys.")
    group.command("create")(create)
    group.command("list")(show)
    group.command("revoke")(revoke)
    app.add_typer(group, name="keys")


def create(
    instance: InstanceOption,
    scope: Annotated[
        list[str],
        typer.Option(
            "--scope", metavar="SCOPE", help=f"What it may do: {', '.join(SCOPES)}. May be repeated."
        ),
    ],
    name: Annotated[str, typer.Option("--name", help="A word to recognise the key by.")] = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Make a key, and its instance if there is none. The key is shown now and never again."""
    _check(instance, scope)
    settings = settings_for("keys")
    with prepared_log(settings, "keys", quiet if as_json else output.say) as log:
        ensure_instance(log, instance)
        key, text = create_key(log.database, instance, scope, name, clock(), os.urandom)
    if as_json:
        output.json_line({"id": key.id, "key": text, "instance": key.instance, "scopes": _scopes(key)})
    else:
        output.say(
            f"key {key.id} of instance {key.instance}: {', '.join(_scopes(key))}; it is shown only now"
        )
        output.out().print(text, highlight=False)


def show(
    instance: Annotated[str, typer.Option("--instance", metavar="NAME", help="Only this instance's.")] = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """List the keys; their texts are stored nowhere."""
    with prepared_log(settings_for("keys"), "keys") as log:
        keys = list_keys(log.database, instance or None)
    if as_json:
        output.json_line({"items": [_item(key) for key in keys]})
    else:
        columns = ("id", "instance", "scopes", "name", "created", "revoked")
        output.table(columns, [tuple(_text(value) for value in _item(key).values()) for key in keys])


def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `keys list` shows it.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key; it works no more from now on."""
    with prepared_log(settings_for("keys"), "keys") as log:
        if not revoke_key(log.database, key_id, clock()):
            raise NotFound(f"there is no key {key_id}")
    if as_json:
        output.json_line({"id": key_id, "revoked": True})
    else:
        output.say(f"key {key_id} is revoked")


def _check(instance: str, scopes: list[str]) -> None:
    if not _INSTANCE.fullmatch(instance):
        raise BadInput(
            f"{instance!r} cannot be an instance's name: use a-z, 0-9 and -, at most 63 characters"
        )
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown:
        raise BadInput(f"there is no scope {', '.join(unknown)}; choose from {', '.join(SCOPES)}")


def _scopes(key: ApiKey) -> list[str]:
    return [scope for scope in SCOPES if scope in key.scopes]


def _item(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "instance": key.instance,
        "scopes": _scopes(key),
        "name": key.name,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return "" if value is None else f"{value:%Y-%m-%d %H:%M}" if hasattr(value, "year") else str(value)
