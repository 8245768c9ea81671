"""Locks on files that the kernel lets go when their holder dies, however it dies."""

import fcntl
import functools
import os
import weakref
from pathlib import Path
from types import TracebackType
from typing import Self

SHARED = fcntl.LOCK_SH
EXCLUSIVE = fcntl.LOCK_EX


class FileLock:
    """An open lock file. No child inherits it, except where its descriptor is handed over on purpose."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        locks_of_this_process().add(self)

    @classmethod
    def open(cls, path: Path) -> Self:
        return cls(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def acquire(self, kind: int) -> bool:
        """Take the lock if it is free now."""
        try:
            fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@functools.cache
def locks_of_this_process() -> weakref.WeakSet[FileLock]:
    """A fork shares our locks and would hold them after our death, so it closes its copies at once."""
    locks: weakref.WeakSet[FileLock] = weakref.WeakSet()
    os.register_at_fork(after_in_child=lambda: close_all(locks))
    return locks


def close_all(locks: weakref.WeakSet[FileLock]) -> None:
    for lock in list(locks):
        lock.close()


def take_if_free(path: Path, kind: int) -> FileLock | None:
    lock = FileLock.open(path)
    if lock.acquire(kind):
        return lock
    lock.close()
    return None
