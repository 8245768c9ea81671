"""Finding the settings: the environment first, then tidings.yaml, then the defaults."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_settings import SettingsError

from tidings.errors import SettingsInvalid
from tidings.settings import Settings
from tidings.settings_faults import described
from tidings.settings_names import PREFIX, PROCESS_VARIABLES, groups, member_names, variable

DEFAULT_FILE = Path("tidings.yaml")


def load_settings() -> Settings:
    """Read and check everything at once; raises SettingsInvalid with a sentence for each fault."""
    file = settings_file(os.environ)
    written = read_file(file) if file else {}
    faults = misnamed_variables(os.environ)
    try:
        settings = Settings(**written)
    except ValidationError as error:
        raise SettingsInvalid([*faults, *described(error, os.environ, file, written)]) from None
    except SettingsError as error:
        raise SettingsInvalid([*faults, _unreadable_variable(error)]) from None
    if faults:
        raise SettingsInvalid(faults)
    return settings


def settings_file(environment: Mapping[str, str]) -> Path | None:
    named = environment.get(f"{PREFIX}CONFIG")
    if named:
        return Path(named).expanduser().absolute()
    return DEFAULT_FILE.absolute() if DEFAULT_FILE.is_file() else None


def read_file(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsInvalid([f"{file} cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise SettingsInvalid([f"{file} is not UTF-8 text"]) from None
    except yaml.YAMLError as error:
        raise SettingsInvalid([_not_yaml(file, error)]) from None
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise SettingsInvalid([f"{file} must hold names and values, such as `port: 8080`"])
    return content


def _not_yaml(file: Path, error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"{file}, line {error.problem_mark.line + 1}: is not YAML: {error.problem}"
    return f"{file} is not YAML: {error}"


def misnamed_variables(environment: Mapping[str, str]) -> list[str]:
    """Faults for the variables that look like a misspelled setting of ours."""
    return [fault for name in sorted(environment) if (fault := _misnamed(name))]


def foreign_variables(environment: Mapping[str, str]) -> list[str]:
    """Variables with our prefix that resemble no setting: left alone, but worth a word."""
    ours = (name for name in environment if name.upper().startswith(PREFIX))
    return sorted(name for name in ours if not _belongs(name) and not _misnamed(name))


def _misnamed(name: str) -> str | None:
    if not name.upper().startswith(PREFIX) or _belongs(name):
        return None
    near = get_close_matches(name.upper(), _all_variables(), n=1, cutoff=0.84)
    return f"{name} is not a setting; did you mean {near[0]}?" if near else None


def _belongs(name: str) -> bool:
    first, *rest = name.upper().removeprefix(PREFIX).lower().split("__")
    if not rest:
        return first in Settings.model_fields or name.upper() in PROCESS_VARIABLES
    return first in groups()  # pydantic judges what stands below a group


def _all_variables() -> Iterable[str]:
    return [*(variable(name) for name in member_names()), *PROCESS_VARIABLES]


def _unreadable_variable(error: SettingsError) -> str:
    for name in groups():
        if f'"{name}"' in str(error):
            return (
                f"{variable((name,))} is not JSON; set its members one by one, like {variable((name, '…'))}"
            )
    return str(error)
