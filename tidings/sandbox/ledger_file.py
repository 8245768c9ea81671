"""The ledger on disk: lines of JSON, appended in groups, one fsync for each group."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from tidings.sandbox.entries import Entry, entry_of
from tidings.sandbox.errors import LedgerInUse, LedgerUnreadable
from tidings.sandbox.message_index import Heading, Place

_headings = msgspec.json.Decoder(Heading)


class LedgerFile:
    """Blocking; to be used by one thread. Raises LedgerInUse when another process has it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _open_locked(path)
        self._size = 0
        self._edition = 0

    def load(self) -> list[Place]:
        """Find every line again; a torn last line was never acknowledged and is dropped."""
        places = list(self._places_on_disk())
        self._size = places[-1].offset + places[-1].length if places else 0
        os.ftruncate(self._file, self._size)
        return places

    def append(self, lines: Sequence[bytes]) -> int:
        """Write and fsync; answers the offset of the first line. On OSError nothing was added."""
        start = self._size
        joined = b"".join(lines)
        try:
            _write_all(self._file, joined, start)
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, start)
            raise
        self._size = start + len(joined)
        return start

    def read(self, places: Iterable[Place]) -> list[Entry]:
        """Leaves out what was emptied since the places were looked up."""
        return [
            entry_of(os.pread(self._file, place.length, place.offset))
            for place in places
            if place.edition == self._edition
        ]

    def read_raw(self, offset: int, length: int) -> bytes:
        return os.pread(self._file, length, offset)

    def empty(self) -> None:
        self._edition += 1
        self._size = 0
        os.ftruncate(self._file, 0)
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)

    def _places_on_disk(self) -> Iterator[Place]:
        offset = 0
        with self._path.open("rb") as lines:
            for line in lines:
                heading = self._heading(line, offset)
                if heading is None:
                    return
                yield Place(heading, offset, len(line), self._edition)
                offset += len(line)

    def _heading(self, line: bytes, offset: int) -> Heading | None:
        if not line.endswith(b"\n"):
            return None
        try:
            return _headings.decode(line)
        except msgspec.DecodeError as error:
            raise LedgerUnreadable(self._path, offset) from error


def _open_locked(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Messages hold codes: for this user's eyes only.
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        raise LedgerInUse(path) from error
    _fsync_directory(path.parent)
    return file


def _fsync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_all(file: int, content: bytes, offset: int) -> None:
    rest = memoryview(content)
    while rest:
        written = os.pwrite(file, rest, offset)
        rest = rest[written:]
        offset += written
