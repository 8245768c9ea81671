"""Deployment settings: read once from tidings.yaml and TIDINGS_*, validated, then frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_serializer, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tidings.give_up_settings import GiveUpSettings
from tidings.provider_settings import (
    Line,
    Port,
    ProviderSettings,
    ReadableFile,
    SettingsGroup,
    SmtpSettings,
    TwilioSettings,
    Url,
)
from tidings.worker_settings import WorkerSettings

MASK = "**********"


class ExternalSettings(SettingsGroup):
    """How people reach the instances' own domains, for links in messages, and providers this deployment."""

    scheme: Literal["https", "http"] = Field(default="https", description="https or http.")
    port: Port = Field(default=443, description="Port that links carry when it is not the scheme's own.")
    public_url: Url | None = Field(
        default=None,
        description="Where providers reach this deployment; unset: Twilio is not asked to call back.",
    )

    @field_validator("public_url")
    @classmethod
    def an_address_providers_can_call(cls, given: str | None) -> str | None:
        if given is None:
            return None
        parts = urlsplit(given)
        if not parts.hostname or parts.username is not None or parts.port == 0:
            raise ValueError("must be an address such as https://tidings.example.com, without a user")
        return given.rstrip("/")


Switch = Annotated[Literal["auto", "true", "false"], BeforeValidator(lambda given: str(given).lower())]
"""YAML reads true and false as truth values, the environment as text."""


class SandboxSettings(SettingsGroup):
    enabled: Switch = Field(
        default="auto",
        description="auto: stand in for each channel without a provider; true: always run; false: never.",
    )
    smtp_port: Port | None = Field(default=None, description="Port of its SMTP server; unset: a free one.")
    http_port: Port | None = Field(default=None, description="Port of its HTTP server; unset: a free one.")
    url: str = Field(
        default="", description="Address of a sandbox that runs elsewhere, such as http://sandbox:8025."
    )

    @model_validator(mode="after")
    def an_address_is_whole(self) -> Self:
        if self.url and not urlsplit(self.url).hostname:
            raise ValueError("url must be an address such as http://sandbox:8025")
        if self.url and self.smtp_port is None:
            raise ValueError(
                "url names a sandbox elsewhere; smtp_port must say where its SMTP server listens"
            )
        return self


def _whole_path(path: Path) -> Path:
    return path.expanduser().absolute()


DirectoryPath = Annotated[Path, BeforeValidator(lambda given: _whole_path(Path(str(given))))]


class Settings(BaseSettings):
    """Every setting; ``database_url`` None means the embedded PostgreSQL in the data directory."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="TIDINGS_", env_nested_delimiter="__", env_ignore_empty=True
    )

    database_url: SecretStr | None = Field(
        default=None, description="PostgreSQL 15 or later, postgresql://…; unset: the embedded one."
    )
    database_role: str = Field(
        default="tidings_app",
        pattern=r"^[a-z_][a-z0-9_]{0,62}$",
        description="Role all but migrations work as; may append to the log and never rewrite it.",
    )
    host: Line = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: Port = Field(default=8080, description="Port of the REST API.")
    data_dir: DirectoryPath = Field(
        default=Path("var"),
        validate_default=True,
        description="Directory for everything Tidings keeps on disk.",
    )
    postgres_bin: DirectoryPath | None = Field(
        default=None,
        description="Directory of PostgreSQL's programs for the embedded server; unset: the wheel's.",
    )
    secret_key: SecretStr | None = Field(
        default=None,
        description="32 bytes as URL-safe base64 or hexadecimal; unset: secret.key in the data directory.",
    )
    secret_key_file: ReadableFile | None = Field(default=None, description="File that holds the secret key.")
    log_format: Literal["text", "json"] = Field(
        default="text", description="text or json; logs go to standard error."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least that is logged."
    )
    smtp: SmtpSettings | None = None
    twilio: TwilioSettings | None = None
    workers: WorkerSettings = WorkerSettings()
    external: ExternalSettings = ExternalSettings()
    sandbox: SandboxSettings = SandboxSettings()
    providers: ProviderSettings = ProviderSettings()
    give_up: GiveUpSettings = GiveUpSettings()

    @field_validator("database_url")
    @classmethod
    def a_server_is_named(cls, given: SecretStr | None) -> SecretStr | None:
        text = given.get_secret_value() if given else "postgresql://"
        if not text.startswith(("postgresql://", "postgres://")) and "=" not in text:
            raise ValueError("must be an address such as postgresql://user:password@host:5432/database")
        return given

    @field_serializer("database_url")
    def _without_password(self, given: SecretStr | None) -> str | None:
        return shown_address(given.get_secret_value()) if given else None

    @model_validator(mode="after")
    def one_secret_key(self) -> Self:
        if self.secret_key is not None and self.secret_key_file is not None:
            raise ValueError("secret_key and secret_key_file are both set; keep one of them")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment alone; the file's values come in beside it (see settings_file)."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings


def shown_address(url: str) -> str:
    """A database's address without its password."""
    parts = urlsplit(url)
    if parts.scheme and parts.hostname is not None:
        user = (
            f"{parts.username}:{MASK}@" if parts.password else f"{parts.username}@" if parts.username else ""
        )
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{user}{parts.hostname}{port}{parts.path}"
    return " ".join(word for word in url.split() if not word.startswith("password="))
