"""What can go wrong in the sandbox.

SandboxError
├── LedgerInUse        another process has this ledger open
├── LedgerUnreadable   a line that was acknowledged can no longer be read
└── BadField           a caller's field is wrong; becomes a 400 problem document
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


class SandboxError(Exception):
    """Root of the sandbox's errors."""


class LedgerInUse(SandboxError):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is in use by another sandbox; stop that one or choose another data directory"
        )


class LedgerUnreadable(SandboxError):
    def __init__(self, path: Path, offset: int) -> None:
        super().__init__(f"{path} holds a broken line at byte {offset}; move the file away to start empty")


class BadField(SandboxError):
    """``pointer`` is a JSON pointer (RFC 6901) into the body, or ``?name`` for a query parameter."""

    def __init__(self, pointer: str, detail: str, allowed: Iterable[str] = ()) -> None:
        super().__init__(f"{pointer}: {detail}")
        self.pointer = pointer
        self.detail = detail
        self.allowed = tuple(allowed)
