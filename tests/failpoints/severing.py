"""A socket in front of PostgreSQL's own that cuts a connection when its COMMIT has been done but not told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

_COMMIT = b"COMMIT\0"
_TYPES = b"pg_type"
"""What a library asks for at the start is no commit of ours."""
_SOCKET = ".s.PGSQL.5432"
_BLOCK = 1 << 16


class Severing:
    """``conninfo`` leads through it; commits are counted from 1 over all connections."""

    def __init__(self, conninfo: str, directory: Path) -> None:
        self.conninfo = make_conninfo(conninfo, host=str(directory))
        self.cut_at: set[int] = set()
        self.commits = 0
        self.cuts = 0
        self._upstream = Path(str(conninfo_to_dict(conninfo)["host"])) / _SOCKET

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(self._upstream)
        doomed = asyncio.Event()
        try:
            await asyncio.wait(
                {
                    asyncio.create_task(self._ask(reader, server_writer, doomed)),
                    asyncio.create_task(self._answer(server_reader, writer, doomed)),
                },
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for end in (writer, server_writer):
                end.transport.abort()

    async def _ask(
        self, client: asyncio.StreamReader, server: asyncio.StreamWriter, doomed: asyncio.Event
    ) -> None:
        learning = False
        with suppress(ConnectionError):
            while octets := await client.read(_BLOCK):
                learning |= _TYPES in octets
                if _COMMIT in octets and learning:
                    learning = False
                elif _COMMIT in octets:
                    self.commits += 1
                    if self.commits in self.cut_at:
                        doomed.set()
                server.write(octets)
                await server.drain()

    async def _answer(
        self, server: asyncio.StreamReader, client: asyncio.StreamWriter, doomed: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):
            while octets := await server.read(_BLOCK):
                if doomed.is_set():
                    # The server says that it is done; nobody hears it.
                    self.cuts += _COMMIT in octets
                    return
                client.write(octets)
                await client.drain()


@asynccontextmanager
async def severing(conninfo: str, directory: Path) -> AsyncIterator[Severing]:
    await asyncio.to_thread(directory.mkdir)
    made = Severing(conninfo, directory)
    async with await asyncio.start_unix_server(made.serve, directory / _SOCKET):
        yield made
