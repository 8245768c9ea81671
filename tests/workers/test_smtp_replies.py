from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.channels.reply_text import LONGEST_TEXT
from workers.channels.smtp_replies import LONGEST_REPLY, Reply, UnreadableError, read_reply


@pytest.mark.parametrize(
    ("received", "reply", "rest"),
    [
        (b"250 ok\r\n", Reply(250, "ok"), b""),
        (b"250\r\n", Reply(250, ""), b""),
        (b"250 ok\n", Reply(250, "ok"), b""),
        (b"250-one\r\n250-two\r\n250 three\r\n354 go\r\n", Reply(250, "one two three"), b"354 go\r\n"),
        (b"550 5.1.1 <b@y.org>: who?\r\n", Reply(550, "5.1.1 <b@y.org>: who?"), b""),
        (b"550 caf\xe9\r\n", Reply(550, "caf\ufffd"), b""),
    ],
)
def test_reply_is_read_when_it_is_whole(received: bytes, reply: Reply, rest: bytes) -> None:
    found = read_reply(received)
    assert found is not None
    assert found[0] == reply
    assert received[found[1] :] == rest


@pytest.mark.parametrize(
    "received", [b"", b"2", b"250", b"250 ok", b"250 ok\r", b"250-ok\r\n", b"250-a\r\n250 b"]
)
def test_reply_is_awaited_when_more_must_come(received: bytes) -> None:
    assert read_reply(received) is None


@pytest.mark.parametrize(
    "received",
    [
        b"\r\n",
        b"25\r\n",
        b"hello\r\n",
        b"2500 ok\r\n",
        b"250ok\r\n",
        b"150 ok\r\n",
        b"650 ok\r\n",
        b"250-ok\r\n251 ok\r\n",
        b"250 a\rb\r\n",
        b"\xff\xfe\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"250 " + b"a" * LONGEST_REPLY,
        b"250-a\r\n" * LONGEST_REPLY,
    ],
)
def test_reply_is_unreadable_when_it_cannot_become_one(received: bytes) -> None:
    with pytest.raises(UnreadableError):
        read_reply(received)


@given(st.binary(max_size=300))
def test_only_whole_replies_or_a_typed_error_come_of_any_octets(received: bytes) -> None:
    found = None
    with contextlib.suppress(UnreadableError):
        found = read_reply(received)
    assert found is None or (200 <= found[0].code < 600 and found[1] <= len(received))


def test_reply_is_recorded_printable_and_short_when_the_server_is_neither() -> None:
    recorded = str(Reply(550, "5.7.1 a\x00b\x1b[31m\u202e\udcff " + "x" * 5000))
    assert recorded.startswith("550 5.7.1 a b [31m")
    assert recorded.isprintable()
    assert len(recorded) == LONGEST_TEXT


@pytest.mark.parametrize(
    ("text", "enhanced"), [("5.1.1 no", "5.1.1"), ("no 5.1.1", ""), ("5.1.1.1 no", ""), ("", "")]
)
def test_enhanced_code_is_found_only_at_the_start(text: str, enhanced: str) -> None:
    assert Reply(550, text).enhanced_code == enhanced
