from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tidings.errors import SettingsInvalid
from tidings.settings import Settings
from tidings.settings_file import load_settings
from tidings.settings_listing import settings_in_force
from tidings.settings_names import members, variable
from tidings.worker_process import receiver, run_worker_process

KEY, OLD_KEY = bytes(range(32)), bytes(range(24))
WORD, OLD_WORD = (base64.b64encode(key).decode() for key in (KEY, OLD_KEY))
URL = "https://ops.example.com/give-ups"

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.chdir(tmp_path)
    for name, _ in members():
        monkeypatch.delenv(variable(name), raising=False)
    monkeypatch.delenv("TIDINGS_CONFIG", raising=False)

    def loaded(**given: Any) -> Settings:
        Path("tidings.yaml").write_text(yaml.safe_dump({"give_up": given}))
        return load_settings()

    return loaded


def refusal(load: Load, **given: Any) -> str:
    with pytest.raises(SettingsInvalid) as refused:
        load(**given)
    return "\n".join(refused.value.faults)


def test_nobody_is_told_when_no_address_is_set(load: Load) -> None:
    assert receiver(load()) is None


@pytest.mark.parametrize("text", [WORD, f"whsec_{WORD}"])
def test_the_key_is_read_with_and_without_its_prefix(load: Load, text: str) -> None:
    assert load(url=URL, signing_key=text).give_up.signing_keys() == (KEY,)


def test_several_keys_sign_while_one_replaces_another(load: Load) -> None:
    Path("keys").write_text(f"whsec_{WORD}\n{OLD_WORD}\n")
    assert load(url=URL, signing_key_file="keys").give_up.signing_keys() == (KEY, OLD_KEY)


def test_the_environment_serves_as_well(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_GIVE_UP__URL", URL)
    monkeypatch.setenv("TIDINGS_GIVE_UP__SIGNING_KEY", WORD)
    monkeypatch.setenv("TIDINGS_GIVE_UP__TIMEOUT", "3s")
    given = load().give_up
    assert (given.url, given.signing_keys(), given.timeout.total_seconds()) == (URL, (KEY,), 3.0)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"url": URL}, "belong together; one is missing"),
        ({"signing_key": WORD}, "belong together; one is missing"),
        (
            {"url": URL, "signing_key": WORD, "signing_key_file": "tidings.yaml"},
            "both set; keep one of them",
        ),
        ({"url": URL, "signing_key": "sesame-1"}, "must be Base64 of 24 to 64 bytes"),
        ({"url": URL, "signing_key": base64.b64encode(bytes(23)).decode()}, "24 to 64 bytes"),
        ({"url": URL, "signing_key": "   "}, "signing_key is empty"),
        ({"url": "http://ops.example.com/", "signing_key": WORD}, "url must be https"),
        ({"url": "ops.example.com", "signing_key": WORD}, "give_up.url"),
        ({"url": URL, "signing_key": WORD, "timeout": "0s"}, "give_up.timeout"),
        ({"url": URL, "signing_key": WORD, "timeout": "2m"}, "give_up.timeout"),
        ({"url": URL, "signing_key": WORD, "own_networks": ["10.0.0.1/8"]}, "give_up.own_networks"),
    ],
)
def test_a_receiver_that_is_not_whole_is_refused_with_a_sentence(
    load: Load, given: dict[str, Any], sentence: str
) -> None:
    told = refusal(load, **given)
    assert sentence in told
    assert "sesame" not in told
    assert WORD not in told


@pytest.mark.parametrize("url", ["https://127.0.0.1/", "https://u:p@ops.example.com/", "https://10.1.2.3:9/"])
def test_a_worker_does_not_start_when_the_address_is_one_never_called(load: Load, url: str) -> None:
    settings = load(url=url, signing_key=WORD)
    settings = settings.model_copy(
        update={"sandbox": settings.sandbox.model_copy(update={"enabled": "false"})}
    )
    with pytest.raises(SettingsInvalid) as refused:
        run_worker_process(settings)
    assert "give_up.url: the endpoint" in refused.value.faults[0]


def test_the_key_is_never_shown(load: Load) -> None:
    settings = load(url=URL, signing_key=WORD)
    listed = str(settings_in_force(settings)) + repr(settings) + settings.model_dump_json()
    assert WORD not in listed
    assert URL in listed
