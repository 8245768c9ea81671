"""What can go wrong with the embedded server; every message says what to do next.

EmbeddedPostgresError
├── BinariesMissingError    no usable PostgreSQL programs on this machine
├── ClusterUnusableError    the directory belongs to someone else, or another version made it
└── ServerStartError        it was tried, and PostgreSQL or its keeper did not start
"""

from pathlib import Path

TAIL_BYTES = 4096
TAIL_LINES = 12


class EmbeddedPostgresError(Exception):
    pass


class BinariesMissingError(EmbeddedPostgresError):
    pass


class ClusterUnusableError(EmbeddedPostgresError):
    pass


class ServerStartError(EmbeddedPostgresError):
    pass


def tail(log: Path) -> str:
    """The last lines of a log file, with its name, ready to end an error message."""
    try:
        text = log.read_bytes()[-TAIL_BYTES:].decode(errors="replace")
    except OSError as error:
        return f"{log} cannot be read: {error.strerror}"
    lines = text.strip().splitlines()[-TAIL_LINES:]
    return "\n".join([f"The end of {log}:", *lines])
