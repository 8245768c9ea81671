"""The ledger of accepted messages: what it holds is acknowledged, and nothing is acknowledged before."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tidings.sandbox.entries import Entry, line_of
from tidings.sandbox.ledger_file import LedgerFile
from tidings.sandbox.message_index import Heading, MessageIndex, Place


class _Waiting(msgspec.Struct):
    entry: Entry
    line: bytes
    written: asyncio.Future[None]


@contextmanager
def open_ledger(path: Path) -> Iterator[Ledger]:
    """Raises LedgerInUse, LedgerUnreadable."""
    file = LedgerFile(path)
    ledger = Ledger(file)
    try:
        ledger.load()
        yield ledger
    finally:
        ledger.write_group()
        file.close()


class Ledger:
    """Messages that arrive in one turn of the loop, or while the disk is busy, form a group.

    The loop itself waits for the disk: to hand each group to a thread and back costs more than it frees.
    """

    def __init__(self, file: LedgerFile) -> None:
        self.index = MessageIndex()
        self.editions = 0
        self._file = file
        self._waiting: list[_Waiting] = []

    def load(self) -> None:
        for place in self._file.load():
            self.index.add(place)

    async def append(self, entry: Entry) -> None:
        """Returns once the entry would survive a crash; raises OSError when it could not be written."""
        loop = asyncio.get_running_loop()
        written = loop.create_future()
        if not self._waiting:
            loop.call_soon(self.write_group)
        self._waiting.append(_Waiting(entry, line_of(entry), written))
        await written

    def read(self, places: Sequence[Place]) -> list[Entry]:
        return self._file.read(places)

    def raw(self, chunk_size: int = 1 << 20) -> Iterator[bytes]:
        """The file as it is, in chunks."""
        offset = 0
        while chunk := self._file.read_raw(offset, chunk_size):
            yield chunk
            offset += len(chunk)

    def empty(self) -> None:
        self.index.clear()
        self.editions += 1
        self._file.empty()

    def write_group(self) -> None:
        """Write down what waits for it, if anything does."""
        group, self._waiting = self._waiting, []
        if not group:
            return
        try:
            offset = self._file.append([waiting.line for waiting in group])
        except OSError as error:
            _refuse(group, error)
            return
        for waiting in group:
            self.index.add(self._place(waiting, offset))
            offset += len(waiting.line)
            _settle(waiting.written)

    def _place(self, waiting: _Waiting, offset: int) -> Place:
        entry = waiting.entry
        heading = Heading(
            channel=str(entry.__struct_config__.tag), id=entry.id, received_at=entry.received_at, to=entry.to
        )
        return Place(heading, offset, len(waiting.line), self.editions)


def _settle(written: asyncio.Future[None]) -> None:
    # Who waited may be gone (a dropped connection); the entry stays.
    if not written.done():
        written.set_result(None)


def _refuse(group: list[_Waiting], error: OSError) -> None:
    for waiting in group:
        if not waiting.written.done():
            waiting.written.set_exception(error)
