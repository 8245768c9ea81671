"""The deployment's key as text: from the settings, else from a file that only we may read."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path

from tidings.errors import SettingsInvalid
from tidings.settings import Settings

KEY_BYTES = 32
FILE_NAME = "secret.key"
ONLY_OURS = 0o600


def secret_key_text(settings: Settings, chance: Callable[[int], bytes] = os.urandom) -> str:
    """Makes the key file in the data directory when the settings name no key; raises SettingsInvalid."""
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value()
    if settings.secret_key_file is not None:
        return settings.secret_key_file.read_text().strip()
    return _kept_key(settings.data_dir, chance)


def _kept_key(directory: Path, chance: Callable[[int], bytes]) -> str:
    file = directory / FILE_NAME
    try:
        if not file.exists():
            directory.mkdir(parents=True, exist_ok=True)
            write_once(file, base64.urlsafe_b64encode(chance(KEY_BYTES)).decode())
        if file.stat().st_mode & ~ONLY_OURS & 0o777:
            raise SettingsInvalid([f"{file} may be read by others; run: chmod 600 '{file}'"])
        return file.read_text().strip()
    except OSError as error:
        raise SettingsInvalid([f"{file} cannot be used: {error.strerror}"]) from None


def write_once(file: Path, text: str) -> None:
    """Whole or not at all, for the owner alone; whoever comes second keeps the first one's text."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, ONLY_OURS), "w") as opened:
        opened.write(text + "\n")
        opened.flush()
        os.fsync(opened.fileno())
    try:
        os.link(draft, file)
    except FileExistsError:
        return
    finally:
        draft.unlink()
    _sync_directory(file.parent)


def _sync_directory(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
