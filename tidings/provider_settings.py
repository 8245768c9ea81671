"""The accounts messages leave through: one SMTP server and one Twilio account."""

from __future__ import annotations

from email.headerregistry import Address
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

SMTP_PORTS = {"implicit": 465, "starttls": 587, "opportunistic": 25, "none": 25}
ENCRYPTED = ("implicit", "starttls")


def readable_file(path: Path) -> Path:
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None


def plain_address(text: str) -> str:
    try:
        address = Address(addr_spec=text)
    except (ValueError, IndexError, AttributeError):
        address = Address()
    if not (address.username and address.domain) or any(sign in text for sign in "\r\n\0 "):
        raise ValueError(f"{text!r} is not an e-mail address")
    return text


def one_line(text: str) -> str:
    if any(sign < " " for sign in text):
        raise ValueError("must be one line without control characters")
    return text


ReadableFile = Annotated[Path, AfterValidator(readable_file)]
MailAddress = Annotated[str, AfterValidator(plain_address)]
Line = Annotated[str, AfterValidator(one_line)]
Port = Annotated[int, Field(ge=1, le=65535)]


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class SettingsGroup(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def secret_text(value: SecretStr | None, file: Path | None) -> str:
    """A secret given in place or in a file; empty when neither is."""
    if value is not None:
        return value.get_secret_value()
    return file.read_text().strip() if file else ""


def network(text: str) -> str:
    ip_network(text)
    return text


Network = Annotated[str, AfterValidator(network)]
Url = Annotated[str, Field(pattern=r"^https?://[^\s?#]+$")]


class ProviderSettings(SettingsGroup):
    """How the providers that instances set up for themselves are reached."""

    twilio_url: Url = Field(default="https://api.twilio.com", description="Where Twilio's API is.")
    twilio_verify_url: Url = Field(
        default="https://verify.twilio.com", description="Where Twilio's Verify API is."
    )
    own_networks: tuple[Network, ...] = Field(
        default=(),
        description="Networks that HTTP providers may be in beside the public ones, such as 10.0.0.0/8.",
    )


class SmtpSettings(SettingsGroup):
    """One SMTP server. While this group is set, the sandbox is off for e-mail."""

    host: Line = Field(min_length=1, description="Name or address of the server.")
    port: Port = Field(description="465 for implicit, 587 for starttls, else 25.")
    tls: Literal["implicit", "starttls", "opportunistic", "none"] = Field(
        default="starttls", description="implicit, starttls, opportunistic (never with a password) or none."
    )
    user: Line = Field(default="", description="User name; empty for no authentication.")
    password: SecretStr | None = Field(default=None, description="Password of the user.")
    password_file: ReadableFile | None = Field(default=None, description="File that holds the password.")
    sender_address: MailAddress = Field(description="Address in From and in the envelope.")
    sender_name: Line = Field(default="", description="Name shown beside the address.")
    reply_to: MailAddress | None = Field(default=None, description="Address that answers go to.")
    ca_file: ReadableFile | None = Field(
        default=None, description="Certificates to trust instead of the system's."
    )
    server_name: Line = Field(default="", description="Name the certificate must have; the host if empty.")
    verify: bool = Field(default=True, description="Check the server's certificate.")
    connections: int = Field(
        default=4, ge=1, le=1000, description="Connections a worker process holds at most."
    )

    @model_validator(mode="before")
    @classmethod
    def port_follows_tls(cls, given: Any) -> Any:  # noqa: ANN401 - what pydantic hands over
        if isinstance(given, dict) and given.get("port") is None:
            return {**given, "port": SMTP_PORTS.get(str(given.get("tls", "starttls")), 25)}
        return given

    @model_validator(mode="after")
    def credentials_are_whole(self) -> Self:
        if self.password is not None and self.password_file is not None:
            raise ValueError("password and password_file are both set; keep one of them")
        if bool(self.user) != (self.password is not None or self.password_file is not None):
            raise ValueError("user and password (or password_file) belong together; one of them is missing")
        if self.user and self.tls not in ENCRYPTED and not (self.tls == "none" and is_loopback(self.host)):
            raise ValueError(
                f"with tls {self.tls} the password could travel in clear; use implicit or starttls"
            )
        return self

    def password_text(self) -> str:
        return secret_text(self.password, self.password_file)


class TwilioSettings(SettingsGroup):
    """One Twilio account. While this group is set, the sandbox is off for text messages."""

    account_sid: str = Field(pattern=r"^AC[0-9A-Za-z]{1,40}$", description="Account SID, AC….")
    auth_token: SecretStr | None = Field(default=None, description="Auth token of the account.")
    auth_token_file: ReadableFile | None = Field(default=None, description="File that holds the auth token.")
    sender_number: Line = Field(default="", description="Number messages come from, such as +41791234567.")
    messaging_service_sid: Line = Field(default="", description="Messaging service to send through instead.")
    base_url: str = Field(
        default="https://api.twilio.com", pattern=r"^https?://[^\s/?#]+/?$", description="Where the API is."
    )

    @model_validator(mode="after")
    def account_is_whole(self) -> Self:
        if (self.auth_token is None) == (self.auth_token_file is None):
            raise ValueError("exactly one of auth_token and auth_token_file must be set")
        if bool(self.sender_number) == bool(self.messaging_service_sid):
            raise ValueError("exactly one of sender_number and messaging_service_sid must be set")
        return self

    def token_text(self) -> str:
        return secret_text(self.auth_token, self.auth_token_file)
