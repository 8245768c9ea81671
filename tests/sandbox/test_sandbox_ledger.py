from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiosmtplib
import pytest

from tests.sandbox.sandbox_clients import MAIL, Web, web_of
from tidings.sandbox.entries import MailEntry, TextEntry, WebhookEntry, entry_of, line_of
from tidings.sandbox.errors import LedgerInUse, LedgerUnreadable
from tidings.sandbox.ledger import open_ledger
from tidings.sandbox.server import SandboxAddress, run_sandbox, sandbox

NOW = datetime(2026, 11, 3, 14, tzinfo=UTC)
PROGRAM = """
import asyncio, sys
from pathlib import Path
from tidings.sandbox.server import run_sandbox

def started(address):
    print(address.smtp_port, address.http_port, flush=True)

asyncio.run(run_sandbox(Path(sys.argv[1]), started=started, stop=asyncio.Event()))
"""


def a_mail(name: str) -> MailEntry:
    return MailEntry(name, NOW, "a@example.org", (f"{name}@example.org",), MAIL.encode())


def write_ledger(directory: Path, content: bytes) -> Path:
    path = directory / "ledger.jsonl"
    path.write_bytes(content)
    return path


async def send(address: SandboxAddress, to: str) -> None:
    await aiosmtplib.send(
        MAIL, sender="a@example.org", recipients=[to], hostname=address.host, port=address.smtp_port
    )  # fmt: skip


@asynccontextmanager
async def sandbox_process(
    directory: Path,
) -> AsyncIterator[tuple[asyncio.subprocess.Process, SandboxAddress]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(directory), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        smtp_port, http_port = (await process.stdout.readline()).split()
        yield process, SandboxAddress("127.0.0.1", int(smtp_port), int(http_port))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize(
    "entry",
    [
        a_mail("one"),
        TextEntry("two", NOW, None, ("+41791234567",), "Hi", "AC0"),
        WebhookEntry("three", NOW, ("/webhook/x",), {"a": ["b"]}, b"\x00\xff"),
    ],
)
def test_an_entry_is_the_same_when_it_is_read_back(entry: MailEntry | TextEntry | WebhookEntry) -> None:
    assert entry_of(line_of(entry)) == entry


async def test_every_acknowledged_mail_is_there_when_the_process_was_killed(tmp_path: Path) -> None:
    acknowledged: set[str] = set()
    enough = asyncio.Event()

    async def keep_sending(address: SandboxAddress, sender: int) -> None:
        for number in range(10_000):
            to = f"u{sender}-{number}@example.org"
            await send(address, to)
            acknowledged.add(to)
            if len(acknowledged) == 60:
                enough.set()

    async with sandbox_process(tmp_path) as (process, address):
        senders = [asyncio.create_task(keep_sending(address, sender)) for sender in range(8)]
        await enough.wait()
        process.send_signal(signal.SIGKILL)
        await asyncio.gather(*senders, return_exceptions=True)
    async with sandbox(tmp_path) as again, web_of(again) as web:
        kept = [item["to"][0] for item in await web.messages(limit="100000")]
    assert acknowledged <= set(kept)
    assert len(kept) == len(set(kept))


async def test_messages_are_listed_newest_first_when_the_sandbox_starts_again(tmp_path: Path) -> None:
    write_ledger(tmp_path, line_of(a_mail("one")) + line_of(a_mail("two")))
    async with sandbox(tmp_path) as address, web_of(address) as web:
        await send(address, "three@example.org")
        recipients = [item["to"][0] for item in await web.messages()]
    assert recipients == ["three@example.org", "two@example.org", "one@example.org"]


async def test_a_torn_last_line_is_dropped_when_the_ledger_is_loaded(tmp_path: Path) -> None:
    path = write_ledger(tmp_path, line_of(a_mail("one")) + line_of(a_mail("two"))[:-20])
    with open_ledger(path) as ledger:
        assert len(ledger.index) == 1
        await ledger.append(a_mail("three"))
    assert [entry_of(line).id for line in path.read_bytes().splitlines()] == ["one", "three"]


async def test_one_fsync_serves_all_that_came_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sizes, fsync = tmp_path / "ledger.jsonl", list[int](), os.fsync

    def counting(file: int) -> None:
        fsync(file)
        sizes.append(path.stat().st_size)

    with open_ledger(path) as ledger:
        monkeypatch.setattr(os, "fsync", counting)
        await asyncio.gather(*(ledger.append(a_mail(f"{number}")) for number in range(10)))
        assert sizes == [sum(len(line_of(a_mail(f"{number}"))) for number in range(10))]
        assert len(ledger.index) == 10


async def test_the_start_is_refused_when_an_acknowledged_line_is_broken(tmp_path: Path) -> None:
    path = write_ledger(tmp_path, b"nonsense\n" + line_of(a_mail("two")))
    with pytest.raises(LedgerUnreadable, match="byte 0"), open_ledger(path):
        pass


async def test_the_start_is_refused_when_another_sandbox_has_the_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with open_ledger(path), pytest.raises(LedgerInUse), open_ledger(path):
        pass


async def test_the_ledger_is_empty_for_good_when_messages_were_deleted(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as address, web_of(address) as web:
        await send(address, "one@example.org")
        assert (await web.call("DELETE", "/sandbox/messages"))[0] == 204
        assert await web.messages() == []
        await send(address, "two@example.org")
    async with sandbox(tmp_path) as address, web_of(address) as web:
        assert [item["to"] for item in await web.messages()] == [["two@example.org"]]


async def test_places_lead_nowhere_when_the_ledger_was_emptied_meanwhile(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "ledger.jsonl") as ledger:
        await ledger.append(a_mail("one"))
        place = ledger.index.get("one")
        assert place is not None
        assert ledger.read([place]) == [a_mail("one")]
        ledger.empty()
        await ledger.append(a_mail("two"))
        assert ledger.read([place]) == []


async def test_mail_is_not_acknowledged_when_the_ledger_cannot_be_written(
    address: SandboxAddress, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "pwrite", full)
        with pytest.raises(aiosmtplib.SMTPDataError, match="ledger"):
            await send(address, "one@example.org")
        assert (await web.call("POST", "/webhook/x", data=b"x"))[0] == 503
    await send(address, "two@example.org")
    assert [item["to"] for item in await web.messages()] == [["two@example.org"]]


async def test_the_ledger_is_private_and_streamed_when_asked_for(
    tmp_path: Path, address: SandboxAddress, web: Web
) -> None:
    await send(address, "one@example.org")
    async with web.session.get("/sandbox/ledger") as answer:
        raw = await answer.read()
    assert raw == (tmp_path / "ledger.jsonl").read_bytes()
    assert (tmp_path / "ledger.jsonl").stat().st_mode & 0o777 == 0o600


async def test_the_sandbox_runs_until_told_when_it_is_the_whole_program(tmp_path: Path) -> None:
    stop = asyncio.Event()
    started: asyncio.Future[SandboxAddress] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(run_sandbox(tmp_path, started=started.set_result, stop=stop))
    await send(await started, "one@example.org")
    stop.set()
    await running
