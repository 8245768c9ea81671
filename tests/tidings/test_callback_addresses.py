"""Where providers are asked to call back, and whose signature is believed, by the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tidings.callbacks import callbacks, providers_callback, sandbox_callback, sandbox_token
from tidings.sandbox_use import routes_in_words
from tidings.settings import Settings

PATH = "/v1/callbacks/twilio/"
PUBLIC = {"public_url": "https://tidings.example.com/t/"}
TWILIO = {"account_sid": "AC1", "auth_token": "t0ken", "sender_number": "+15005550006"}
BESIDE_US = {"smtp_port": 1025, "http_port": 8025}


def settings(tmp_path: Path, **given: Any) -> Settings:
    return Settings(data_dir=tmp_path, secret_key="00" * 32, port=9000, **given)


def test_providers_are_not_asked_without_a_public_address(tmp_path: Path) -> None:
    given = settings(tmp_path, twilio=TWILIO)
    assert (providers_callback(given), callbacks(given).public_url) == ("", "")
    assert routes_in_words(given)[-1].startswith("callbacks: only the sandbox; external.public_url does not")


def test_providers_call_the_public_address(tmp_path: Path) -> None:
    given = settings(tmp_path, twilio=TWILIO, external=PUBLIC)
    assert providers_callback(given) == f"https://tidings.example.com/t{PATH}"
    assert callbacks(given).public_url == "https://tidings.example.com/t"
    assert callbacks(given).twilio_tokens["AC1"] == "t0ken"
    assert "t0ken" not in repr(callbacks(given))
    assert routes_in_words(given)[-1] == "callbacks: providers call https://tidings.example.com/t"


def test_a_sandbox_beside_us_calls_our_own_port_and_no_real_provider_is_sent_there(tmp_path: Path) -> None:
    given = settings(tmp_path, sandbox=BESIDE_US)
    assert sandbox_callback(given) == f"http://127.0.0.1:9000{PATH}"
    assert providers_callback(given) == ""
    assert callbacks(given).public_url == "http://127.0.0.1:9000"
    assert callbacks(given).twilio_tokens == {"sandbox": sandbox_token(given)}


def test_a_sandbox_elsewhere_is_asked_only_for_a_public_address(tmp_path: Path) -> None:
    elsewhere = {"url": "http://sandbox:8025", "smtp_port": 1025}
    assert sandbox_callback(settings(tmp_path, sandbox=elsewhere)) == ""
    given = settings(tmp_path, sandbox=elsewhere, external={"public_url": "http://api:8080"})
    assert sandbox_callback(given) == f"http://api:8080{PATH}"
    assert routes_in_words(given)[-1] == "callbacks: providers call http://api:8080"


@pytest.mark.parametrize("other", ["11" * 32, "22" * 32])
def test_the_sandboxs_token_is_the_deployments_own(tmp_path: Path, other: str) -> None:
    mine = sandbox_token(settings(tmp_path))
    assert mine == sandbox_token(settings(tmp_path))
    assert mine != sandbox_token(Settings(data_dir=tmp_path, secret_key=other))
