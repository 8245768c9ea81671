"""After the demo, no name, address or code can be read in the database, in any usual spelling of bytes."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec
import psycopg
import pytest
from psycopg import sql

from tidings.demo_story import acts
from tidings.listening import free_port
from tidings.postgres.use import embedded_postgres

ROOT = Path(__file__).parents[2]
PRIVATE = ("code", "user_name", "first_name", "last_name", "display_name", "email", "phone")


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Path]:
    """A data directory in which the demo has been delivered; everything is still running."""
    port = free_port("127.0.0.1")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TIDINGS_")}
    with (tmp_path / "up.log").open("w") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tidings",
                "up",
                "--demo",
                "--data-dir",
                str(tmp_path),
                "--port",
                str(port),
            ],
            cwd=ROOT,
            env=environment | {"PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
        )
    try:
        _wait_for_messages(
            f"http://127.0.0.1:{port}/sandbox/messages", sum(s.notifies for act in acts() for s in act)
        )
        yield tmp_path
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def _wait_for_messages(url: str, count: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if len(msgspec.json.decode(answer.read())["items"]) >= count:
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("the demo's messages did not arrive")


def _secrets() -> set[str]:
    steps = [step for act in acts() for step in act]
    return {str(step.data[name]) for step in steps for name in PRIVATE if step.data.get(name)}


def _spellings(secret: str) -> set[bytes]:
    raw = secret.encode()
    plain = {raw, raw.hex().encode(), secret.encode("utf-16-le"), quote(secret).encode()}
    escaped = msgspec.json.encode(secret).strip(b'"')
    # Base64 of a longer text holds the word at one of three alignments; the middle is what can be sought.
    shifted = {base64.b64encode(b"x" * shift + raw)[4:-4] for shift in range(3)}
    return {word for word in plain | {escaped} | shifted if len(word) > 3}


@pytest.mark.timeout(120)
def test_nothing_private_is_readable_in_the_database_after_the_demo(played: Path) -> None:
    with embedded_postgres(played) as conninfo, psycopg.connect(conninfo) as connection:
        dump = _dump(connection)
    assert len(dump) > 10_000
    for secret in _secrets():
        for spelling in _spellings(secret):
            assert not re.search(re.escape(spelling), dump), f"{secret} can be read as {spelling!r}"


def _dump(connection: psycopg.Connection[tuple[object, ...]]) -> bytes:
    tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    parts: list[bytes] = []
    for (table,) in tables:
        for row in connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(str(table)))):
            parts.extend(value if isinstance(value, bytes) else str(value).encode() for value in row)
    return b"\n".join(parts)
