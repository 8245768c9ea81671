"""What settings are called: ``smtp.host`` in the file and in messages, TIDINGS_SMTP__HOST as a variable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tidings.settings import Settings

PREFIX = "TIDINGS_"
PROCESS_VARIABLES = frozenset(
    {
        "TIDINGS_CONFIG",
        "TIDINGS_API_KEY",
        "TIDINGS_URL",
        "TIDINGS_PROCESS",
        "TIDINGS_READY_FD",
        "TIDINGS_LISTEN_FD",
        "TIDINGS_SUPERVISOR_PID",
        "TIDINGS_FAILPOINTS",
    }
)
"""Read by single commands and by the processes of `tidings up`; none of them is a setting."""

Name: TypeAlias = tuple[str, ...]


def groups() -> dict[str, type[BaseModel]]:
    found = ((name, group_of(field)) for name, field in Settings.model_fields.items())
    return {name: group for name, group in found if group}


def group_of(field: FieldInfo) -> type[BaseModel] | None:
    candidates = (field.annotation, *get_args(field.annotation))
    return next(
        (found for found in candidates if isinstance(found, type) and issubclass(found, BaseModel)), None
    )


def members() -> Iterator[tuple[Name, FieldInfo]]:
    """Every single setting, those of groups included."""
    return _below((), Settings)


def _below(above: Name, group: type[BaseModel]) -> Iterator[tuple[Name, FieldInfo]]:
    for name, field in group.model_fields.items():
        nested = group_of(field)
        if nested is None:
            yield (*above, name), field
        else:
            yield from _below((*above, name), nested)


def name_at(steps: Name) -> Name:
    """The name in front of whatever else a fault's place holds: one step below the last group."""
    group: type[BaseModel] | None = Settings
    for depth, step in enumerate(steps):
        field = group.model_fields.get(step) if group else None
        group = group_of(field) if field else None
        if group is None:
            return steps[: depth + 1]
    return steps


def member_names() -> list[Name]:
    return [name for name, _ in members()]


def dotted(name: Name) -> str:
    return ".".join(name)


def variable(name: Name) -> str:
    return PREFIX + "__".join(name).upper()
