"""What a team writes first: everything one at a time, with the libraries as their documentation shows them.

The same mail from the same layout, the same events in a table like the log's, each committed by itself, and
as many tasks at once; EmailMessage builds, aiosmtplib.send sends. No REST, no handler, no claim, no seal, no
lock and no retry stand in its way. `python -m benchmarks.naive CONNINFO PORT FIRST COUNT TASKS`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from typing import Any
from uuid import UUID, uuid4

import aiosmtplib
import jinja2
import psycopg

from benchmarks.long_texts import lengthened
from workers.channels.port import Mail
from workers.rendering.mail import Envelope, Sender
from workers.rendering.render import RenderRequest, render
from workers.rendering.texts import builtin_texts

TABLE = "CREATE TABLE IF NOT EXISTS naive_events (LIKE events INCLUDING ALL)"
_INSERT = """
INSERT INTO naive_events (originator_id, originator_version, topic, state, instance_id)
VALUES (%s, %s, %s, %s, 'naive')
"""
_SENDER = "tidings@bench.example"
_WORDS = ("DisplayName", "LastEmail", "Code", "Expiry", "UserID", "OrgID")
_MARK = re.compile("0mark(" + "|".join(_WORDS) + ")0")


class Naive:
    def __init__(self, conninfo: str, port: int) -> None:
        self._conninfo = conninfo
        self._port = port
        like = message_from_bytes(_ours(), policy=SMTP)
        text, html = like.iter_parts()
        plain = jinja2.Environment(autoescape=False, keep_trailing_newline=True)  # noqa: S701  # a text part
        marked = jinja2.Environment(autoescape=True, keep_trailing_newline=True)
        self._subject = plain.from_string(_open(like["Subject"]))
        self._text = plain.from_string(_open(text.get_content()))
        self._html = marked.from_string(_open(html.get_content()))

    async def run(self, numbers: range, tasks: int) -> None:
        waiting = iter(numbers)
        await asyncio.gather(*(self._work(waiting) for _ in range(tasks)))

    async def _work(self, waiting: Iterator[int]) -> None:
        async with await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True) as connection:
            for number in waiting:
                await self._notify(connection, number)

    async def _notify(self, connection: psycopg.AsyncConnection[Any], number: int) -> None:
        user, notification = uuid4(), uuid4()
        told = {
            "user": f"user-{number}",
            "code": f"C{number:07d}",
            "expiry": 3600,
            "origin": "https://login.example",
        }
        await _append(connection, user, 2, "user.human.email.code.added", told)
        await _append(connection, notification, 1, "notification.requested", told | {"rule": "verify-email"})
        mail = self._mail(number, told["code"])
        await _append(connection, notification, 2, "notification.attempt.started", {"attempt": 1})
        await _append(connection, notification, 3, "notification.transmission.started", {"attempt": 1})
        await aiosmtplib.send(mail, hostname="127.0.0.1", port=self._port, start_tls=False)
        await _append(connection, notification, 4, "notification.sent", {"message_id": mail["Message-ID"]})
        await _append(connection, user, 3, "user.human.email.code.sent", {"cause": str(notification)})

    def _mail(self, number: int, code: object) -> EmailMessage:
        words = {
            "DisplayName": f"Ada Number {number}",
            "LastEmail": f"naive{number}@bench.example",
            "Code": code,
            "Expiry": "1 hour",
            "UserID": str(number),
            "OrgID": "bench",
        }
        mail = EmailMessage(policy=SMTP)
        mail["From"], mail["To"] = _SENDER, words["LastEmail"]
        mail["Subject"] = self._subject.render(words)
        mail["Date"], mail["Message-ID"] = (
            format_datetime(datetime.now(UTC)),
            make_msgid(domain="bench.example"),
        )
        mail.set_content(self._text.render(words))
        mail.add_alternative(self._html.render(words), subtype="html")
        return mail


async def _append(
    connection: psycopg.AsyncConnection[Any], stream: UUID, version: int, topic: str, body: dict[str, Any]
) -> None:
    await connection.execute(_INSERT, [stream, version, topic, json.dumps(body).encode()])


def _ours() -> bytes:
    """The mail as Tidings makes it, with marks where values go."""
    words = {name: f"0mark{name}0" for name in _WORDS} | {"Origin": "https://login.bench.example"}
    request = RenderRequest("VerifyEmail", "email", words, recipient=_SENDER)
    texts = lengthened(builtin_texts("VerifyEmail", "en"))
    mail = render(request, Envelope("<1@bench.example>", datetime.now(UTC), Sender(_SENDER)), texts)
    assert isinstance(mail, Mail)
    return mail.content


def _open(words: str) -> str:
    """With Jinja's holes in place of the marks."""
    return _MARK.sub(r"{{ \1 }}", words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("conninfo")
    for name in ("port", "first", "count", "tasks"):
        parser.add_argument(name, type=int)
    options = parser.parse_args()
    with psycopg.connect(options.conninfo, autocommit=True) as connection:
        connection.execute(TABLE)
    naive = Naive(options.conninfo, options.port)
    began = time.monotonic()
    asyncio.run(naive.run(range(options.first, options.first + options.count), options.tasks))
    print(json.dumps({"seconds": time.monotonic() - began, "cpu_seconds": time.process_time()}))


if __name__ == "__main__":
    main()
