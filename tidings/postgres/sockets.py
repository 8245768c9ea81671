"""The directory of the server's socket, and the connection string that names it."""

import hashlib
import os
import tempfile
from pathlib import Path

from tidings.postgres.files import require_own

LONGEST_SOCKET_PATH = 100  # bytes; the kernel ends at 107 on Linux and at 103 on macOS
PORT = 5432
SUPERUSER = "postgres"
DATABASE = "tidings"


def socket_directory(home: Path) -> Path:
    """Beside the cluster where that fits, else a short private name that follows from the long one."""
    beside = home / "socket"
    if fits(beside):
        return beside
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"tidings-{os.geteuid()}-{digest}"


def fits(directory: Path) -> bool:
    """A comma would be read as a list of directories, by the server and by libpq."""
    path = os.fsencode(directory / f".s.PGSQL.{PORT}")
    return len(path) <= LONGEST_SOCKET_PATH and b"," not in path


def make_private(directory: Path) -> None:
    """Raises ClusterUnusableError where someone else was first to make a directory of that name."""
    directory.mkdir(mode=0o700, exist_ok=True)
    require_own(directory)
    directory.chmod(0o700)


def connection_string(directory: Path) -> str:
    host = str(directory).replace("\\", "\\\\").replace("'", "\\'")
    return f"host='{host}' port={PORT} user={SUPERUSER} dbname={DATABASE}"
