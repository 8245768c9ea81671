"""Operators' commands on the command line, against the API on a real socket."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest

from api.app import create_app
from api.dependencies import ApiDependencies
from event_log.api_keys import create_key
from event_log.intake import Intake
from event_log.log import Log
from tests.conftest import Clock
from tests.projections.histories import PARKED, SENT, requested, stream, write
from tests.serving import serving
from tests.story import Story
from tidings.cli.program import run

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def service(log: Log, clock: Clock) -> Iterator[str]:
    intake = Intake(log)
    app = create_app(
        ApiDependencies(database=log.database, log=log, intake=intake, clock=clock, cursor_key=b"c" * 32)
    )
    with serving(lambda _: app) as url:
        yield url
    intake.close()


@pytest.fixture
def tidings(
    service: str, log: Log, clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs the program with a key for everything; its status, and what it printed on both streams."""
    key = create_key(log.database, "acme", ("admin",), "a test", clock(), os.urandom)[1]
    monkeypatch.setenv("TIDINGS_URL", service)
    monkeypatch.setenv("TIDINGS_API_KEY", key)

    def program(*words: str) -> tuple[int, str, str]:
        status = run(words)
        told = capsys.readouterr()
        return status, told.out, told.err

    return program


WHY = ("--reason", "the user called")
NOBODY = str(UUID(int=1))


def test_a_cancelled_notification_is_shown(tidings: Run, log: Log) -> None:
    write(log, 1, [requested(1)])
    status, out, _ = tidings("notifications", "cancel", str(stream(1)), *WHY)
    assert (status, out) == (0, "VerifyEmail by email is cancelled (operator)\n")
    status, out, _ = tidings("notifications", "cancel", str(stream(1)), *WHY, "--json")
    assert (status, json.loads(out)["state"]) == (0, "cancelled")


def test_status_and_sentence_say_what_was_refused(tidings: Run, log: Log) -> None:
    write(log, 1, [requested(1), *SENT])
    status, out, err = tidings("notifications", "cancel", str(stream(1)), *WHY)
    assert (status, out) == (1, "")
    assert "It is sent: the message has left already." in err
    status, _, err = tidings("notifications", "resend", str(stream(1)), *WHY)
    assert status == 1
    assert "its code is gone" in err
    assert tidings("notifications", "cancel", NOBODY, *WHY)[0] == 3
    assert tidings("notifications", "resolve", NOBODY, *WHY, "--outcome", "sent")[0] == 3
    status, _, err = tidings("notifications", "resolve", str(stream(1)), *WHY, "--outcome", "lost")
    assert status == 1
    assert "/outcome must be one of sent, retry, cancelled" in err
    assert tidings("notifications", "cancel", NOBODY)[0] == 2


def test_a_notice_is_sent_again_and_a_doubt_resolved(tidings: Run, log: Log) -> None:
    write(log, 1, [requested(1, secret=""), *SENT])
    status, out, _ = tidings("notifications", "resend", str(stream(1)), *WHY)
    assert (status, out) == (0, "VerifyEmail by email is waiting\n")
    write(log, 2, [requested(2), *PARKED])
    status, out, _ = tidings("notifications", "resolve", str(stream(2)), *WHY, "--outcome", "cancelled")
    assert (status, out) == (0, "VerifyEmail by email is cancelled (operator)\n")


def test_delivery_is_paused_shown_and_resumed(tidings: Run) -> None:
    assert tidings("delivery", "status")[:2] == (0, "nothing is paused\n")
    status, out, _ = tidings("delivery", "pause", *WHY, "--channel", "email")
    assert status == 0
    assert "the user called" in out
    status, out, err = tidings("delivery", "pause", *WHY, "--channel", "email")
    assert "it was paused already" in err
    assert tidings("delivery", "pause", *WHY, "--everywhere")[0] == 0
    shown = json.loads(tidings("delivery", "status", "--json")[1])["items"]
    assert [(item["instance"], item["channel"]) for item in shown] == [("acme", "email"), (None, None)]
    assert "the whole deployment" in tidings("delivery", "status")[1]
    tidings("delivery", "resume", *WHY, "--everywhere")
    status, out, _ = tidings("delivery", "resume", *WHY, "--channel", "email", "--json")
    assert json.loads(out) == {"changed": True, "items": []}
    assert tidings("delivery", "pause", *WHY, "--channel", "fax")[0] == 1


@pytest.fixture
def own_database(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """What talks to the database itself gets this one."""
    monkeypatch.setenv("TIDINGS_DATABASE_URL", log.database.conninfo)
    monkeypatch.setenv("TIDINGS_SECRET_KEY", bytes(range(32)).hex())


@pytest.mark.usefixtures("own_database")
def test_the_quarantine_is_listed_and_redriven(tidings: Run, log: Log, clock: Clock) -> None:
    story = Story(log, clock)
    assert tidings("quarantine", "list")[:2] == (0, "nothing is in quarantine\n")
    story.tell("user.human.email.changed")
    story.ask_for_code()
    story.handle()
    status, out, _ = tidings("quarantine", "list")
    assert status == 0
    assert "user.human.email.changed" in out
    found = json.loads(tidings("quarantine", "list", "--json", "--instance", "acme")[1])["items"]
    assert [item["position"] for item in found] == [1, 2]
    assert json.loads(tidings("quarantine", "list", "--json", "--instance", "b")[1]) == {"items": []}
    status, _, err = tidings("quarantine", "redrive", "2")
    assert status == 1
    assert "2 events still wait" in err
    with log.database.connection() as connection:
        connection.execute("DELETE FROM quarantined_events WHERE position = 1")
    status, out, _ = tidings("quarantine", "redrive", "2")
    assert (status, out) == (0, "1 events handled; their stream goes on\n")
    assert len(story.decisions()) == 1
    assert tidings("quarantine", "redrive", "2")[0] == 3
