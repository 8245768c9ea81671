from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from notification_domain.outcomes import Delivered
from tests.workers.misbehaving_smtp import Script, misbehaving_smtp
from tests.workers.smtp_cells import MAIL, Probe
from tidings.channels import channels
from tidings.errors import SettingsInvalid
from tidings.settings import MASK, Settings
from tidings.settings_file import foreign_variables, load_settings
from tidings.settings_listing import settings_in_force
from tidings.settings_names import members, variable

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads what a file and the environment say, far from the settings of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name, _ in members():
        monkeypatch.delenv(variable(name), raising=False)
    monkeypatch.delenv("TIDINGS_CONFIG", raising=False)

    def from_file_and_environment(file: str = "", **environment: str) -> Settings:
        if file:
            (tmp_path / "tidings.yaml").write_text(file, encoding="utf-8")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return load_settings()

    return from_file_and_environment


def faults(load: Load, file: str = "", **environment: str) -> str:
    with pytest.raises(SettingsInvalid) as refusal:
        load(file, **environment)
    assert refusal.value.status == 2
    return "\n".join(refusal.value.faults)


def test_defaults_hold_when_nothing_is_set(load: Load, tmp_path: Path) -> None:
    settings = load()
    assert settings.port == 8080
    assert settings.host == "127.0.0.1"
    assert settings.data_dir == tmp_path / "var"
    assert settings.database_url is None


def test_environment_wins_when_the_file_says_something_else(load: Load) -> None:
    file = "port: 9001\nworkers: {max_attempts: 3, requeue_every: 2s}\n"
    settings = load(file, TIDINGS_PORT="9002", TIDINGS_WORKERS__MAX_ATTEMPTS="5")
    assert settings.port == 9002
    assert settings.workers.max_attempts == 5
    assert settings.workers.requeue_every == timedelta(seconds=2)


def test_file_named_by_the_environment_is_read(load: Load, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("port: 7000")
    assert load(TIDINGS_CONFIG=str(tmp_path / "other.yaml")).port == 7000


def test_empty_variable_means_nothing_when_it_is_set(load: Load) -> None:
    assert load(TIDINGS_DATABASE_URL="", TIDINGS_PORT="").port == 8080


def test_port_follows_the_tls_mode_when_none_is_given(load: Load) -> None:
    smtp = "smtp: {host: mail.example.org, sender_address: a@example.org, tls: implicit}"
    configured = load(smtp).smtp
    assert configured is not None
    assert configured.port == 465


@pytest.mark.parity("CHN-8")
def test_secret_is_read_from_its_file(load: Load, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("open sesame\n")
    smtp = "smtp: {host: m.example.org, sender_address: a@example.org, user: u, password_file: password}"
    configured = load(smtp).smtp
    assert configured is not None
    assert configured.password_text() == "open sesame"


@pytest.mark.parity("CHN-8")
async def test_the_password_of_a_file_is_what_the_server_is_told(load: Load, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("x\n")
    async with misbehaving_smtp(Script({}, ("AUTH PLAIN",))) as server:
        account = f"host: 127.0.0.1, port: {server.port}, tls: none, user: ada, password_file: password"
        configured = load(f"smtp: {{{account}, sender_address: a@example.org}}")
        channel = channels(configured)["email"]
        assert isinstance(await channel.deliver(MAIL, Probe()), Delivered)
        await channel.close()
    assert "AUTH PLAIN AGFkYQB4" in server.commands


@pytest.mark.parity("S2.3")
@pytest.mark.parametrize("scheme", ["cockroachdb", "mysql", "sqlite"])
def test_no_other_database_is_taken(load: Load, scheme: str) -> None:
    assert "must be an address such as postgresql://" in faults(load, f"database_url: {scheme}://h/d")


SMTP = "smtp: {host: h, sender_address: a@example.org"


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("prot: 1", "prot in tidings.yaml is not a setting; did you mean port?"),
        ("smtp: {hostt: h}", "smtp.hostt in tidings.yaml is not a setting; did you mean smtp.host?"),
        ("wholly_unheard_of: 1", "wholly_unheard_of in tidings.yaml is not a setting"),
        ("port: 70000", "port in tidings.yaml: must be less than or equal to 65535 (given: 70000)"),
        ("port: eighty", "port in tidings.yaml: must be a valid integer"),
        ("workers: {lease_period: 5}", "'5' is not a duration; write it like 250ms, 5s"),
        ("workers: {dispatch_timeout: 3m}", "dispatch_timeout must be shorter than lease_period"),
        ("workers: {min_retry_delay: 2h}", "min_retry_delay must not be longer than max_retry_delay"),
        (
            "smtp: {host: h}",
            "smtp.sender_address is required (in tidings.yaml, or as TIDINGS_SMTP__SENDER_ADDRESS)",
        ),
        ("smtp: {host: h, sender_address: nobody}", "'nobody' is not an e-mail address"),
        (f"{SMTP}, tls: maybe}}", "must be 'implicit', 'starttls', 'opportunistic' or 'none'"),
        (f"{SMTP}, user: u}}", "user and password (or password_file) belong together"),
        (f"{SMTP}, tls: none, user: u, password: p}}", "the password could travel in clear"),
        (f"{SMTP}, tls: opportunistic, user: u, password: p}}", "the password could travel in clear"),
        (f"{SMTP}, ca_file: /not/there}}", "/not/there cannot be read: No such file or directory"),
        ("twilio: {account_sid: AC1, sender_number: '+1'}", "exactly one of auth_token and auth_token_file"),
        (
            "twilio: {account_sid: AC1, auth_token: t}",
            "exactly one of sender_number and messaging_service_sid",
        ),
        ("sandbox: {enabled: perhaps}", "must be 'auto', 'true' or 'false'"),
        ("sandbox: {url: 'http://sandbox:1'}", "smtp_port must say where its SMTP server listens"),
        ("external: {public_url: tidings.example.com}", "external.public_url"),
        ("external: {public_url: 'ftp://tidings.example.com'}", "external.public_url"),
        ("external: {public_url: 'https://u:p@tidings.example.com'}", "without a user"),
        ("external: {public_url: 'https://:443'}", "must be an address such as https://"),
        ("external: {public_url: 'https://h:99999'}", "Port out of range"),
        ("external: {public_url: 'https://h/?a=1'}", "external.public_url"),
        ("secret_key: a\nsecret_key_file: tidings.yaml", "secret_key and secret_key_file are both set"),
        ("a: [", "tidings.yaml, line 1: is not YAML"),
        ("- a", "must hold names and values"),
    ],
)
def test_sentence_names_the_setting_and_the_fault_when_the_file_is_wrong(
    load: Load, file: str, sentence: str
) -> None:
    assert sentence in faults(load, file)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("TIDINGS_PROT", "1", "TIDINGS_PROT is not a setting; did you mean TIDINGS_PORT?"),
        ("TIDINGS_SMTP__HOSTT", "h", "TIDINGS_SMTP__HOSTT is not a setting; did you mean smtp.host?"),
        ("TIDINGS_PORT", "x", "TIDINGS_PORT: must be a valid integer"),
        ("TIDINGS_SMTP", "h", "TIDINGS_SMTP: must be a valid dictionary"),
        ("TIDINGS_CONFIG", "/not/there", "/not/there cannot be read: No such file or directory"),
    ],
)
def test_sentence_names_the_variable_and_the_fault_when_the_environment_is_wrong(
    load: Load, name: str, value: str, sentence: str
) -> None:
    assert sentence in faults(load, **{name: value})


def test_every_fault_is_told_when_there_are_several(load: Load) -> None:
    told = faults(load, "port: 0\nworkers: {max_attempts: 0}", TIDINGS_PROT="1")
    assert len(told.splitlines()) == 3


def test_variable_of_somebody_else_is_left_alone(load: Load) -> None:
    assert load(TIDINGS_SOMETHING_ENTIRELY_ELSE="1").port == 8080
    assert foreign_variables({"TIDINGS_SOMETHING_ENTIRELY_ELSE": "1", "TIDINGS_PORT": "1"}) == [
        "TIDINGS_SOMETHING_ENTIRELY_ELSE"
    ]


def test_no_secret_is_shown_when_settings_are_printed_or_refused(load: Load) -> None:
    file = (
        "smtp: {host: h, sender_address: a@example.org, user: u, password: sesame-1}\n"
        "twilio: {account_sid: AC1, auth_token: sesame-2, sender_number: '+1'}\n"
    )
    settings = load(
        file, TIDINGS_DATABASE_URL="postgresql://u:sesame-3@h:5433/d?a=b", TIDINGS_SECRET_KEY="sesame-4"
    )
    shown = repr(settings) + str(settings) + repr(settings_in_force(settings))
    refused = faults(load, TIDINGS_SMTP__TLS="none", TIDINGS_TWILIO__SENDER_NUMBER="")
    assert "sesame" not in shown + refused
    assert f"postgresql://u:{MASK}@h:5433/d" in shown


def test_source_of_each_setting_is_told(load: Load, tmp_path: Path) -> None:
    settings = load("port: 9001", TIDINGS_HOST="::1")
    sources = {setting.name: setting.source for setting in settings_in_force(settings)}
    assert sources["port"] == str(tmp_path / "tidings.yaml")
    assert sources["host"] == "environment"
    assert sources["data_dir"] == "default"


def test_every_setting_is_described() -> None:
    assert [name for name, field in members() if not field.description] == []
