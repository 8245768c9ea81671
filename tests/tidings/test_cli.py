from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tidings.cli.program import COMMANDS, program, run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tidings(tmp_path: Path) -> Tidings:
    return Tidings(tmp_path)


class Tidings:
    """The program, run as people run it, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, *words: str, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TIDINGS_")}
        return subprocess.run(
            [sys.executable, "-m", "tidings", *words],
            cwd=self.directory,
            env={**kept, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", **environment},
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("TIDINGS_API_KEY", "TIDINGS_URL", "TIDINGS_CONFIG"):
        monkeypatch.delenv(name, raising=False)


GROUPS = {
    "keys": ("create", "list", "revoke"),
    "notifications": ("list", "show", "cancel", "resend", "resolve"),
    "projections": ("list", "rebuild"),
    "delivery": ("pause", "resume", "status"),
    "quarantine": ("list", "redrive"),
    "providers": ("test",),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_and_json_are_there_when_asked_for(command: str) -> None:
    for below in GROUPS.get(command, ("",)):
        words = [command, *filter(None, [below]), "--help"]
        answer = CliRunner().invoke(program(words), words, env={"COLUMNS": "200"})
        assert answer.exit_code == 0, answer.output
        assert "--json" in answer.output


def test_every_command_is_listed_when_help_is_asked_for(tidings: Tidings) -> None:
    answer = tidings("--help")
    assert answer.returncode == 0
    assert all(f" {command} " in answer.stdout for command in COMMANDS)


@pytest.mark.usefixtures("somewhere")
@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("fly",), 2, "No such command 'fly'"),
        (("up", "--port", "0"), 2, "--port"),
        (("up", "--port", "x"), 2, "--port"),
        (("keys", "create", "--instance", "demo"), 2, "--scope"),
        (("keys", "create", "--instance", "Démo", "--scope", "admin"), 2, "cannot be an instance's name"),
        (("keys", "create", "--instance", "a", "--scope", "fly"), 2, "there is no scope fly"),
        (("append", "events.jsonl"), 2, "an API key is needed"),
        (("append", "events.jsonl", "--key", "k"), 2, "events.jsonl cannot be read"),
        (("notifications", "list", "--key", "k", "--url", "http://127.0.0.1:9"), 4, "does not answer"),
        (("notifications", "list", "--key", "k", "--url", "nonsense"), 4, "nonsense"),
        (("providers", "test", "--channel", "fax", "--to", "x"), 2, "--channel"),
    ],
)
def test_clear_sentence_and_status_come_when_words_are_bad(
    words: tuple[str, ...], status: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == status
    told = capsys.readouterr()
    assert sentence in told.err
    assert told.out == ""


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (
            ("providers", "test", "--channel", "email", "--to", "a@example.org"),
            1,
            "no provider is set for email",
        ),
        (("worker",), 2, "nothing says where the sandbox is"),
    ],
)
def test_clear_sentence_and_status_come_when_settings_do_not_suffice(
    tidings: Tidings, words: tuple[str, ...], status: int, sentence: str
) -> None:
    answer = tidings(*words)
    assert answer.returncode == status
    assert sentence in answer.stderr
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""


def test_settings_faults_are_told_one_a_line_when_a_command_starts(tidings: Tidings) -> None:
    answer = tidings("settings", TIDINGS_PORT="x", TIDINGS_WORKERS__MAX_ATTEMPTS="0")
    assert answer.returncode == 2
    assert [line.split(":")[1].strip() for line in answer.stderr.splitlines()] == [
        "TIDINGS_PORT",
        "TIDINGS_WORKERS__MAX_ATTEMPTS",
    ]


def test_settings_are_shown_as_json_without_secrets(tidings: Tidings) -> None:
    answer = tidings("settings", "--json", TIDINGS_SECRET_KEY="sesame", TIDINGS_PORT="9000")
    shown = json.loads(answer.stdout)
    assert shown["port"] == {"value": 9000, "from": "environment"}
    assert "sesame" not in answer.stdout


@pytest.mark.timeout(60)
def test_provider_fault_is_shown_with_its_stage_when_the_server_is_not_there(tidings: Tidings) -> None:
    answer = tidings(
        *("providers", "test", "--channel", "email", "--to", "a@example.org", "--json"),
        TIDINGS_SMTP__HOST="127.0.0.1",
        TIDINGS_SMTP__PORT="9",
        TIDINGS_SMTP__SENDER_ADDRESS="b@example.org",
    )
    assert answer.returncode == 1
    trial = json.loads(answer.stdout)
    assert (trial["delivered"], trial["stage"]) == (False, "connect")
    assert trial["answer"]


@pytest.mark.timeout(90)
def test_key_is_made_listed_and_revoked_with_a_database_of_its_own(tidings: Tidings) -> None:
    made = tidings("keys", "create", "--instance", "demo", "--scope", "admin", "--json")
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)
    assert set(key) == {"id", "key", "instance", "scopes"}
    assert (key["instance"], key["scopes"]) == ("demo", ["admin"])
    listed = json.loads(tidings("keys", "list", "--json").stdout)["items"]
    assert [item["id"] for item in listed] == [key["id"]]
    assert key["key"] not in json.dumps(listed)
    assert tidings("keys", "revoke", key["id"]).returncode == 0
    assert tidings("keys", "revoke", "nobody").returncode == 3
    assert json.loads(tidings("migrate", "--json").stdout) == {"applied": []}
    for name in ("due", "recipients", "history"):
        rebuilt = tidings("projections", "rebuild", name, "--json")
        assert json.loads(rebuilt.stdout)["equal"], rebuilt.stderr
    assert tidings("projections", "rebuild", "nothing").returncode == 2


@pytest.mark.parity("S1.1")
def test_rebuilding_and_handling_load_no_channel() -> None:
    look = (
        "import sys; import tidings.handler_process, tidings.cli.projections;"
        "print([m for m in sys.modules if m.split('.')[0] in ('workers', 'aiosmtplib', 'twilio', 'api')])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    assert answer.stdout.strip() == "[]"
