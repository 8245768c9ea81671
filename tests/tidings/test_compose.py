import os
import re
import subprocess
import sys
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tidings.api_process import GRACE_SECONDS
from tidings.cli.program import COMMANDS
from tidings.durations import parse_duration
from tidings.settings import Settings
from tidings.settings_file import load_settings
from tidings.settings_names import member_names, variable
from workers.worker import WorkerSettings

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
REFERENCE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<sign>[-?])(?P<rest>[^}]*))?\}")
HAND_SET = {"POSTGRES_PASSWORD": "p@ss/w:rd #1", "TIDINGS_SECRET_KEY": "ab" * 32}
"""What a person must provide."""

COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if service["image"] == "tidings")
LONG_RUNNING = sorted(set(SERVICES) - {"migrate"})
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|KEY")


def environment(service: str) -> dict[str, str]:
    given: dict[str, str] = SERVICES[service].get("environment", {})
    return given


def filled_in(text: str) -> str:
    """As compose does it when only the required variables are set."""
    return REFERENCE.sub(lambda found: HAND_SET.get(found["name"], found["rest"]), text)


def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text("utf-8")


@pytest.mark.timeout(60)
def test_file_follows_the_compose_specification() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert told.returncode == 0, told.stdout + told.stderr


def test_every_process_is_a_service() -> None:
    assert OURS == ["api", "handler", "migrate", "sandbox", "worker"]
    assert set(SERVICES) == {*OURS, "postgres"}


@pytest.mark.parametrize("name", SERVICES)
def test_image_is_named_with_the_tag_it_needs(name: str) -> None:
    expected = "tidings" if name in OURS else "postgres:16"
    assert SERVICES[name]["image"] == expected


def test_own_image_is_built_here_and_never_pulled() -> None:
    assert [name for name in OURS if "build" in SERVICES[name]] == ["migrate"]
    assert all(SERVICES[name]["pull_policy"] == "never" for name in OURS)


@pytest.mark.parametrize("name", OURS)
def test_command_is_one_of_the_program(name: str) -> None:
    assert SERVICES[name]["command"] == [name]
    assert name in COMMANDS


@pytest.mark.parametrize("name", OURS)
def test_variables_are_settings(name: str) -> None:
    known = {variable(member) for member in member_names()}
    ours = {given for given in environment(name) if given.startswith("TIDINGS_")}
    assert ours <= known


def settings_of(service: str, monkeypatch: pytest.MonkeyPatch, directory: Path) -> Settings:
    monkeypatch.chdir(directory)
    for name in [name for name in os.environ if name.startswith("TIDINGS_")]:
        monkeypatch.delenv(name)
    for name, value in environment(service).items():
        monkeypatch.setenv(name, filled_in(value))
    return load_settings()


@pytest.mark.parametrize("name", OURS)
def test_settings_are_accepted_when_only_the_required_variables_are_set(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = settings_of(name, monkeypatch, tmp_path)
    assert settings.log_format == "json"
    assert (settings.database_url is None) == (name == "sandbox")


@pytest.mark.parametrize("name", ["api", "handler", "worker"])
def test_sandbox_is_where_the_others_look_for_it(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looked_for = settings_of(name, monkeypatch, tmp_path).sandbox
    place = environment("sandbox")
    assert looked_for.url == f"http://sandbox:{place['TIDINGS_SANDBOX__HTTP_PORT']}"
    assert str(looked_for.smtp_port) == place["TIDINGS_SANDBOX__SMTP_PORT"]
    assert place["TIDINGS_HOST"] == "0.0.0.0"


@pytest.mark.parametrize("name", SERVICES)
def test_secret_is_required_from_outside_and_has_no_default(name: str) -> None:
    for given, value in environment(name).items():
        if SECRET.search(given):
            found = REFERENCE.fullmatch(value)
            assert found
            assert found["sign"] == "?"
            assert "openssl rand" in found["rest"], "the message says how to make one"


def test_database_address_holds_no_password() -> None:
    for name in OURS:
        assert ":" not in environment(name).get("TIDINGS_DATABASE_URL", "").partition("//")[2].split("@")[0]


def test_no_other_variable_is_required() -> None:
    required = {found["name"] for found in REFERENCE.finditer(FILE.read_text()) if found["sign"] == "?"}
    assert required == set(HAND_SET)


@pytest.mark.parametrize("name", ["worker", "handler"])
def test_service_can_be_scaled(name: str) -> None:
    assert not SERVICES[name].keys() & {"container_name", "hostname", "ports", "volumes", "network_mode"}


def test_only_the_api_is_reached_from_outside_and_from_this_machine_alone() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"api"}
    assert SERVICES["api"]["ports"] == ["127.0.0.1:${TIDINGS_PORT:-8080}:8080"]


@pytest.mark.parametrize("name", ["api", "handler", "worker"])
def test_process_waits_for_the_migrations(name: str) -> None:
    assert SERVICES[name]["depends_on"] == {
        "postgres": {"condition": "service_healthy"},
        "migrate": {"condition": "service_completed_successfully"},
    }


def test_process_starts_again_when_it_dies_but_the_migrations_do_not() -> None:
    assert {SERVICES[name]["restart"] for name in LONG_RUNNING} == {"unless-stopped"}
    assert SERVICES["migrate"]["restart"] == "no"


def test_stopping_has_more_time_than_the_process_takes() -> None:
    def patience(name: str) -> timedelta:
        return parse_duration(SERVICES[name]["stop_grace_period"])

    assert patience("worker") > WorkerSettings().drain
    assert patience("api") > timedelta(seconds=GRACE_SECONDS)


@pytest.mark.parametrize("name", OURS)
def test_container_has_no_rights_to_spare(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service


def test_data_outlives_the_containers() -> None:
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql/data"]
    assert SERVICES["sandbox"]["volumes"] == ["sandbox:/var/lib/tidings"]
    assert set(COMPOSE["volumes"]) == {"postgres", "sandbox"}


def test_health_check_of_the_api_is_a_program() -> None:
    command = SERVICES["api"]["healthcheck"]["test"]
    assert command[:3] == ["CMD", "python", "-c"]
    compile(command[3], "healthcheck", "exec")
    assert "/health/ready" in command[3]


def test_image_holds_every_package_and_the_migrations() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]
    wanted = {*packages["targets"]["wheel"]["packages"], "migrations"}
    copied = set(re.findall(r"(?m)^COPY (\w+) /app/", dockerfile()))
    admitted = set(re.findall(r"(?m)^!(\w+)$", (ROOT / ".dockerignore").read_text("utf-8")))
    assert copied == admitted == wanted


def test_image_takes_the_locked_packages_and_runs_without_root() -> None:
    text = dockerfile()
    assert "--require-hashes" in text
    assert "run.lock" in text
    assert not re.search(r"https?://|index-url|find-links", text)
    assert re.search(r"(?m)^USER [1-9]\d*:[1-9]\d*$", text)
    assert 'ENTRYPOINT ["python", "-m", "tidings"]' in text
