"""Make the cluster once, and say how its server is started."""

import os
import shutil
from pathlib import Path

from tidings.postgres import launch
from tidings.postgres.binaries import Binaries
from tidings.postgres.errors import ClusterUnusableError, ServerStartError
from tidings.postgres.files import ClusterFiles
from tidings.postgres.memory import memory_settings
from tidings.postgres.sockets import DATABASE, PORT, SUPERUSER

SETTINGS = {
    # On the command line, where neither postgresql.conf nor ALTER SYSTEM can weaken a promise.
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    # A socket and nothing else.
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "wal_compression": "on",
    "max_wal_size": "1GB",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # Neither statements nor details go to the log: they may hold names and addresses.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length_on_error": "0",
}


def require_same_version(files: ClusterFiles, binaries: Binaries) -> None:
    stamp = files.data / "PG_VERSION"
    if not stamp.exists():
        return
    made_by = stamp.read_text().strip()
    if made_by != str(binaries.major):
        raise ClusterUnusableError(
            f"{files.data} was made by PostgreSQL {made_by}, but {binaries.directory} holds PostgreSQL "
            f"{binaries.major}. Name the programs of version {made_by} in TIDINGS_POSTGRES_BIN."
        )


def create(files: ClusterFiles, binaries: Binaries, run_as: launch.RunAs) -> None:
    """Make a cluster with an empty database, on disk before anyone can use it."""
    unfinished = files.unfinished
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    launch.give(unfinished, run_as)
    must_succeed(run_as, initdb(binaries, unfinished))
    must_succeed(run_as, single_user(binaries, unfinished), f"CREATE DATABASE {DATABASE};\n".encode())
    must_succeed(run_as, [binaries.program("initdb"), "--sync-only", "-D", str(unfinished)])
    unfinished.rename(files.data)
    sync_directory(files.home)


def initdb(binaries: Binaries, directory: Path) -> list[str]:
    return [
        binaries.program("initdb"),
        f"--pgdata={directory}",
        f"--username={SUPERUSER}",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--auth-local=trust",
        "--auth-host=reject",
        "--data-checksums",
        "--no-instructions",
        "--no-sync",  # once, when everything is there
    ]


def single_user(binaries: Binaries, directory: Path) -> list[str]:
    options = as_options({"exit_on_error": "on", "log_checkpoints": "off"})
    return [binaries.program("postgres"), "--single", "-D", str(directory), *options, "postgres"]


def must_succeed(run_as: launch.RunAs, command: list[str], instructions: bytes = b"") -> None:
    status, said = launch.run(run_as, command, instructions)
    if status != 0:
        raise ServerStartError(f"{command[0]} failed with status {status}:\n{said.strip()}{advice(run_as)}")


def advice(run_as: launch.RunAs) -> str:
    if run_as.uid is None:
        return ""
    return (
        f"\nUser namespaces are not available here, so PostgreSQL runs as user {run_as.uid}, who must be "
        f"able to reach the data directory and PostgreSQL's programs. Or run Tidings as an ordinary user."
    )


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def server_command(files: ClusterFiles, binaries: Binaries, sockets: Path) -> list[str]:
    quoted = '"' + str(sockets).replace('"', '""') + '"'
    options = as_options(SETTINGS | memory_settings() | {"unix_socket_directories": quoted})
    return [binaries.program("postgres"), "-D", str(files.data), *options]


def as_options(settings: dict[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
