"""How to reach one SMTP account."""

from __future__ import annotations

import ipaddress
from typing import Literal

import msgspec


class SmtpSettings(msgspec.Struct, frozen=True):
    """One account at one server; times are in seconds."""

    host: str
    port: int
    tls: Literal["implicit", "starttls", "none", "opportunistic"] = "starttls"
    user: str = ""
    password: str = ""
    ca_file: str = ""
    """PEM file of the only authorities to trust; the system's when empty."""
    server_name: str = ""
    """Name the certificate must bear, when it is not ``host``."""
    verify: bool = True
    helo: str = "localhost"
    connections: int = 10
    connect_timeout: float = 10.0
    command_timeout: float = 30.0
    """For each reply before the body, and each block of it: a time-out there is safely deferred."""
    data_timeout: float = 600.0
    """For the answer to the final dot; under 600 s it makes duplicates (RFC 1047)."""
    max_messages_per_connection: int = 100
    idle_timeout: float = 30.0

    def __repr__(self) -> str:
        return f"SmtpSettings(host={self.host!r}, port={self.port}, tls={self.tls!r}, user={self.user!r})"

    def credentials_fault(self) -> str | None:
        """Why these settings would show the credentials to a listener, or None."""
        if not self.user or self.tls in {"implicit", "starttls"}:
            return None
        if self.tls == "opportunistic":
            return "credentials are never used with opportunistic TLS"
        return None if _is_loopback(self.host) else "credentials in clear are for loopback hosts only"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
