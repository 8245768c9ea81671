"""The settings in force, for people and programs to read; secrets stay masked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from tidings.settings import Settings
from tidings.settings_file import read_file, settings_file
from tidings.settings_names import Name, dotted, members, variable


class SettingInForce(msgspec.Struct, frozen=True):
    name: str
    variable: str
    value: Any
    source: str
    """environment, the file's name, or default."""
    description: str


def settings_in_force(settings: Settings) -> list[SettingInForce]:
    shown = settings.model_dump(mode="json")
    file = settings_file(os.environ)
    written = read_file(file) if file else {}
    return [
        SettingInForce(
            dotted(name),
            variable(name),
            _value(shown, name),
            _source(name, file, written),
            field.description or "",
        )
        for name, field in members()
    ]


def _source(name: Name, file: Path | None, written: Mapping[str, Any]) -> str:
    if variable(name) in {given.upper() for given, text in os.environ.items() if text}:
        return "environment"
    return "default" if _value(written, name) is None else str(file)


def _value(tree: Mapping[str, Any], name: Name) -> Any:  # noqa: ANN401 - settings are of any kind
    value: Any = tree
    for step in name:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value
