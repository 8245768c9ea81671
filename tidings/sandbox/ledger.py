"""The ledger of accepted messages: what it holds is acknowledged, and nothing is acknowledged before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

import msgspec

from tidings.sandbox.entries import Entry, line_of
from tidings.sandbox.ledger_file import LedgerFile
from tidings.sandbox.message_index import Heading, MessageIndex, Place

P = ParamSpec("P")
R = TypeVar("R")


class _Waiting(msgspec.Struct):
    entry: Entry
    line: bytes
    written: asyncio.Future[None]


@asynccontextmanager
async def open_ledger(path: Path) -> AsyncIterator[Ledger]:
    """Raises LedgerInUse, LedgerUnreadable."""
    file = LedgerFile(path)
    ledger = Ledger(file)
    try:
        await ledger.load()
        yield ledger
    finally:
        await ledger.settle()
        file.close()


class Ledger:
    """Messages that arrive while a group is being written form the next group."""

    def __init__(self, file: LedgerFile) -> None:
        self.index = MessageIndex()
        self.editions = 0
        self._file = file
        # One thread touches the file, so reads, groups and emptying never overlap.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sandbox-ledger")
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    async def load(self) -> None:
        for place in await self._on_disk(self._file.load):
            self.index.add(place)

    async def append(self, entry: Entry) -> None:
        """Returns once the entry would survive a crash; raises OSError when it could not be written."""
        written = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(entry, line_of(entry), written))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_groups())
        await written

    async def read(self, places: Sequence[Place]) -> list[Entry]:
        return await self._on_disk(self._file.read, places)

    async def raw(self, chunk_size: int = 1 << 20) -> AsyncIterator[bytes]:
        """The file as it is, in chunks."""
        offset = 0
        while chunk := await self._on_disk(self._file.read_raw, offset, chunk_size):
            yield chunk
            offset += len(chunk)

    async def empty(self) -> None:
        async with self._turn:
            self.index.clear()
            self.editions += 1
            await self._on_disk(self._file.empty)

    async def settle(self) -> None:
        """Wait for the last group and let the thread go."""
        if self._writing is not None:
            await self._writing
        self._thread.shutdown()

    async def _write_groups(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            async with self._turn:
                await self._write(group)
        self._writing = None

    async def _write(self, group: list[_Waiting]) -> None:
        try:
            offset = await self._on_disk(self._file.append, [waiting.line for waiting in group])
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

    async def _on_disk(self, work: Callable[P, R], *args: P.args, **_: P.kwargs) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)


def _settle(written: asyncio.Future[None]) -> None:
    # Who waited may be gone (a dropped connection); the entry stays.
    if not written.done():
        written.set_result(None)


def _refuse(group: list[_Waiting], error: OSError) -> None:
    for waiting in group:
        if not waiting.written.done():
            waiting.written.set_exception(error)
