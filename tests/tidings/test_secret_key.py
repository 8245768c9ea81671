import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from event_log.deployment_key import DeploymentKey
from tidings.errors import SettingsInvalid
from tidings.secret_key import secret_key_text
from tidings.settings import Settings


def test_key_is_made_once_for_our_eyes_only_when_none_is_set(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "new")
    key = secret_key_text(settings)
    file = tmp_path / "new" / "secret.key"
    assert secret_key_text(settings) == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [found.name for found in file.parent.iterdir()] == ["secret.key"]
    DeploymentKey.from_text(key)


def test_all_get_the_same_key_when_several_ask_for_the_first_one(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with ThreadPoolExecutor(1) as alone:
        keys = {secret_key_text(settings), alone.submit(secret_key_text, settings).result()}
    assert len(keys) == 1


def test_key_of_the_settings_wins_when_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from the file\n")
    assert secret_key_text(Settings(data_dir=tmp_path, secret_key=SecretStr("given"))) == "given"
    assert secret_key_text(Settings(data_dir=tmp_path, secret_key_file=tmp_path / "key")) == "from the file"


def test_key_is_refused_when_others_may_read_its_file(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    secret_key_text(settings)
    (tmp_path / "secret.key").chmod(0o644)
    with pytest.raises(SettingsInvalid, match="chmod 600"):
        secret_key_text(settings)
