"""Faults in settings as sentences that name the setting, where it was set, and what would be right."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from tidings.setting_origins import serves
from tidings.settings_names import Name, dotted, groups, member_names, members, name_at, variable


def described(
    error: ValidationError, environment: Mapping[str, str], file: Path | None, written: Mapping[str, Any]
) -> list[str]:
    places = _Places(environment, file, written)
    return list(dict.fromkeys(_sentence(fault, places) for fault in error.errors(include_url=False)))


class _Places:
    """Where a faulty value stands, so that the sentence can say it."""

    def __init__(self, environment: Mapping[str, str], file: Path | None, written: Mapping[str, Any]) -> None:
        self._variables = {name.upper() for name in environment}
        self._file = file
        self._written = written

    def of(self, name: Name) -> str:
        # The environment wins, but unknown names at the top only ever come from the file.
        known_above = len(name) > 1 or name in member_names() or name[:1] in {(group,) for group in groups()}
        if variable(name) in self._variables and known_above:
            return variable(name)
        if self._file and _has(self._written, name):
            return f"{dotted(name)} in {self._file.name}"
        return dotted(name)


def _has(written: Any, name: Name) -> bool:  # noqa: ANN401 - what YAML holds
    if not name:
        return True
    return isinstance(written, Mapping) and name[0] in written and _has(written[name[0]], name[1:])


def _sentence(fault: ErrorDetails, places: _Places) -> str:
    name = name_at(tuple(str(step) for step in fault["loc"]))
    where = places.of(name)
    match fault["type"]:
        case "extra_forbidden":
            return f"{where} is not a setting{_suggestion(name)}"
        case "missing":
            return f"{dotted(name)} is required (in tidings.yaml, or as {variable(name)})"
        case "value_error":
            message = str(fault["ctx"]["error"])
            return f"{where}: {message}" if where else message
        case _:
            return f"{where}: {_plain(fault['msg'])}{_given(name, fault['input'])}"


def _suggestion(name: Name) -> str:
    if ours := serves(name[-1]):
        return f"; did you mean workers.{ours}?"
    known = [dotted(known) for known in member_names()] + list(groups())
    near = get_close_matches(dotted(name), known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _plain(message: str) -> str:
    return message.replace("Input should", "must", 1).replace("String should", "must", 1)


def _given(name: Name, value: object) -> str:
    """The faulty value, unless it is or may hold a secret."""
    annotations = {known: str(field.annotation) for known, field in members()}
    if SecretStr.__name__ in annotations.get(name, SecretStr.__name__):
        return ""
    return f" (given: {value!r})" if isinstance(value, str | int | float) else ""
