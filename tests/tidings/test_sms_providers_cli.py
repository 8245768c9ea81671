"""`tidings providers sms`, against the API on a real socket."""

from __future__ import annotations

import json

from tests.tidings.test_operator_cli import Run, service, tidings

__all__ = ["service", "tidings"]

SMS = ("providers", "sms")
ACCOUNT = ("--id", "main", "--sid", "AC1", "--from", "+41790000001", "--token", "sesame")


def test_an_account_is_added_activated_and_removed(tidings: Run) -> None:
    assert "no provider is stored" in tidings(*SMS, "list")[1]
    status, out, _ = tidings(*SMS, "add-twilio", *ACCOUNT, "--description", "Main")
    assert (status, "stored" in out, "sesame" in out) == (0, True, False)
    assert "active" in tidings(*SMS, "activate", "main")[1]
    listed = json.loads(tidings(*SMS, "list", "--json")[1])
    assert [(item["id"], item["active"]) for item in listed["items"]] == [("main", True)]
    assert "stored" in tidings(*SMS, "deactivate", "main")[1]
    assert tidings(*SMS, "token", "main", "--token", "other")[0] == 0
    assert "no provider is stored" in tidings(*SMS, "remove", "main")[1]


def test_a_missing_part_is_named(tidings: Run) -> None:
    status, _, err = tidings(*SMS, "add-twilio", "--id", "main", "--sid", "AC1", "--from", "+41790000001")
    assert status == 1
    assert "/token is required" in err


def test_a_signing_key_is_shown_once(tidings: Run) -> None:
    status, out, _ = tidings(*SMS, "add-http", "--id", "hook", "--endpoint", "https://sms.example/send")
    assert (status, "signing key, shown only now: " in out) == (0, True)
    assert "signing key" not in tidings(*SMS, "list")[1]
    assert "signing key, shown only now: " in tidings(*SMS, "token", "hook")[1]


def test_status_says_when_there_is_none(tidings: Run) -> None:
    for command in ("activate", "deactivate", "token", "remove"):
        status, _, err = tidings(*SMS, command, "nobody")
        assert (command, status) == (command, 3)
        assert "There is no SMS provider nobody." in err
