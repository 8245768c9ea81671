"""Ways to send the same mail again and again: our channel, aiosmtplib in two ways, and Postfix's C client."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from email.policy import SMTP
from functools import partial
from pathlib import Path
from typing import TypeAlias

import aiosmtplib

from benchmarks.peers.cache import Postfix
from benchmarks.peers.sinks import Sink
from notification_domain.outcomes import Delivered
from workers.channels.port import Mail
from workers.channels.smtp import SmtpChannel
from workers.channels.smtp_settings import SmtpSettings

CONNECTIONS = 10
KEPT = 1_000_000
"""Mails a connection: the others keep theirs for ever."""
SENDER = "tidings@bench.example"
MAIL_BYTES = 8 * 1024
_FULLY_READ = 5.0

Send: TypeAlias = Callable[[str], Awaitable[None]]
"""Sends the mail to this address; raises when it was not accepted."""
Sender: TypeAlias = Callable[[Sink, bytes, float], Awaitable[float]]
"""Sends for so many seconds; messages a second."""


def mail() -> bytes:
    """A mail of 8 KiB in two parts, made once: making it is no part of the measure."""
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"], message["Subject"] = SENDER, "user@bench.example", "Your code"
    message["Message-ID"], message["Date"] = "<1@bench.example>", "Mon, 02 Nov 2026 08:00:00 +0000"
    lines = [f"Line {number} of a text that somebody is to read, or not." for number in range(30)]
    message.set_content("\n".join(lines))
    paragraphs = "".join(f"<p>{line}</p>\n" for line in lines)
    message.add_alternative(f"<html><body>\n{paragraphs}</body></html>\n", subtype="html")
    missing = MAIL_BYTES - len(message.as_bytes())
    # Lines as long as those of real mails: the C client writes, and its sink reads, line by line.
    filler = f"<p>{'.' * 63}</p>\n" * (missing // 72)
    html = message.get_payload()[1]
    assert isinstance(html, EmailMessage)
    html.set_content(f"<html><body>\n{paragraphs}{filler}</body></html>\n", subtype="html")
    return message.as_bytes()


async def our_channel(sink: Sink, content: bytes, seconds: float) -> float:
    settings = SmtpSettings(
        sink.host,
        sink.port,
        tls="none",
        connections=CONNECTIONS,
        max_messages_per_connection=KEPT,
    )
    channel = SmtpChannel(settings, provider="bench")

    async def send(recipient: str) -> None:
        outcome = await channel.deliver(Mail(SENDER, recipient, content), _begin)
        if not isinstance(outcome, Delivered):
            raise TypeError(f"not delivered: {outcome}")

    try:
        return await _together([send] * CONNECTIONS, seconds)
    finally:
        await channel.close()


async def _begin() -> bool:
    return True


async def aiosmtplib_pool(sink: Sink, content: bytes, seconds: float) -> float:
    """The same number of connections, each used for one mail after the other; on the loop that runs."""
    clients = [
        aiosmtplib.SMTP(hostname=sink.host, port=sink.port, start_tls=False) for _ in range(CONNECTIONS)
    ]
    for client in clients:
        await client.connect()

    async def send(client: aiosmtplib.SMTP, recipient: str) -> None:
        await client.sendmail(SENDER, recipient, content)

    try:
        return await _together([partial(send, client) for client in clients], seconds)
    finally:
        for client in clients:
            await client.quit()


async def aiosmtplib_pool_plain(sink: Sink, content: bytes, seconds: float) -> float:
    """The same on asyncio's own loop, as the library's documentation runs it."""
    return await asyncio.to_thread(asyncio.run, aiosmtplib_pool(sink, content, seconds))


async def aiosmtplib_send(sink: Sink, content: bytes, seconds: float) -> float:
    """A connection a message, as the library's shortest example does it; as many at once."""

    async def send(recipient: str) -> None:
        await aiosmtplib.send(
            content,
            sender=SENDER,
            recipients=[recipient],
            hostname=sink.host,
            port=sink.port,
            start_tls=False,
        )

    return await _together([send] * CONNECTIONS, seconds)


async def _together(ways: list[Send], seconds: float) -> float:
    began = time.monotonic()
    sent = await asyncio.gather(*(_repeat(number, way, began + seconds) for number, way in enumerate(ways)))
    return sum(sent) / (time.monotonic() - began)


async def _repeat(lane: int, send: Send, until: float) -> int:
    sent = 0
    while time.monotonic() < until:
        await send(f"user{lane}-{sent}@bench.example")
        sent += 1
    return sent


def c_client(postfix: Postfix, directory: Path) -> Sender:
    """smtp-source sends a number of mails, so it is first asked for a few to learn how many fill the time."""

    async def run(sink: Sink, content: bytes, seconds: float) -> float:
        file = directory / "mail"
        file.write_bytes(content.replace(b"\r\n", b"\n"))
        few = 1000
        guess = few / await _c_seconds(postfix, sink, file, few)
        count = max(few, int(guess * seconds))
        return count / await _c_seconds(postfix, sink, file, count)

    return run


async def _c_seconds(postfix: Postfix, sink: Sink, file: Path, count: int) -> float:
    options = ["-d", "-N", "-s", str(CONNECTIONS), "-m", str(count)]
    addresses = ["-f", SENDER, "-t", "user@bench.example", "-F", str(file)]
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        postfix.source,
        *options,
        *addresses,
        f"{sink.host}:{sink.port}",
        env=os.environ | postfix.environment,
        stdin=subprocess.DEVNULL,
    )
    try:
        status = await asyncio.wait_for(process.wait(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status:
        raise ChildProcessError(f"smtp-source ended with status {status}")
    return time.monotonic() - began
