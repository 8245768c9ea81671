"""What the keeper tells the users: one small file, believed only while its writer lives."""

import os
from enum import StrEnum
from pathlib import Path

import msgspec

from tidings.postgres.locks import EXCLUSIVE, SHARED, FileLock


class Phase(StrEnum):
    CREATING = "creating the database cluster"
    STARTING = "starting PostgreSQL"
    READY = "PostgreSQL is ready"
    FAILED = "PostgreSQL did not start"


class KeeperState(msgspec.Struct, frozen=True):
    phase: Phase
    conninfo: str = ""
    reason: str = ""


class Notice:
    """The keeper's end. The file is locked before it appears, and the lock dies with the keeper."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: FileLock | None = None

    def publish(self, state: KeeperState) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        lock = FileLock.open(fresh)
        lock.acquire(EXCLUSIVE)
        os.write(lock.descriptor, msgspec.json.encode(state))
        fresh.replace(self._path)
        self._forget_last(lock)

    def withdraw(self) -> None:
        self._path.unlink(missing_ok=True)
        self._forget_last(None)

    def _forget_last(self, lock: FileLock | None) -> None:
        if self._lock is not None:
            self._lock.close()
        self._lock = lock


def state_of_living_keeper(path: Path) -> KeeperState | None:
    """None when no keeper has said anything, or the one that did is dead."""
    try:
        lock = FileLock(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except FileNotFoundError:
        return None
    with lock:
        if lock.acquire(SHARED):
            return None
        return decoded(os.read(lock.descriptor, 1 << 16))


def last_state(path: Path) -> KeeperState | None:
    """The last word of a keeper, dead or alive."""
    try:
        return decoded(path.read_bytes())
    except FileNotFoundError:
        return None


def decoded(content: bytes) -> KeeperState | None:
    try:
        return msgspec.json.decode(content, type=KeeperState)
    except msgspec.DecodeError:
        return None
