"""The arguments of MAIL and RCPT (RFC 5321, RFC 1870, RFC 6152, RFC 6531) and of AUTH (RFC 4954)."""

from __future__ import annotations

import base64
import binascii
import re

import msgspec

_PATH = re.compile(r"(FROM|TO):\s*<(?:@[^:<>]*:)?([^<>\x00-\x1f\x7f]*)>(?: +(.*))?", re.IGNORECASE)
_ADDRESS = re.compile(r"[^\s@\"]+@[^\s@]+|\"[^\"]*\"@[^\s@]+|postmaster", re.IGNORECASE)
_MAIL_PARAMETERS = frozenset({"SIZE", "BODY", "SMTPUTF8", "AUTH"})


class Refusal(msgspec.Struct, frozen=True):
    """A whole reply line."""

    reply: str


class Path(msgspec.Struct, frozen=True):
    address: str
    parameters: dict[str, str]


def read_sender(argument: str, largest: int) -> Path | Refusal:
    path = _read_path("FROM", argument)
    if isinstance(path, Refusal):
        return path
    if path.address and not _ADDRESS.fullmatch(path.address):
        return Refusal("553 5.1.7 That is no sender address")
    unknown = path.parameters.keys() - _MAIL_PARAMETERS
    if unknown:
        return Refusal(f"555 5.5.4 Unknown parameter {min(unknown)}")
    return _within_limits(path, largest)


def read_recipient(argument: str, *, utf8: bool) -> Path | Refusal:
    path = _read_path("TO", argument)
    if isinstance(path, Refusal):
        return path
    if path.parameters:
        return Refusal(f"555 5.5.4 Unknown parameter {min(path.parameters)}")
    if not _ADDRESS.fullmatch(path.address):
        return Refusal("553 5.1.3 That is no recipient address")
    if not path.address.isascii() and not utf8:
        return Refusal("553 5.6.7 Such an address needs SMTPUTF8")
    return path


def read_plain(response: str) -> str | None:
    """The user name in an AUTH PLAIN response (RFC 4616); None when it is no such response."""
    parts = (read_base64(response) or "").split("\0")
    if len(parts) != 3 or not parts[1] or not parts[2]:  # noqa: PLR2004 - identity, user, password
        return None
    return parts[1]


def read_base64(response: str) -> str | None:
    try:
        return base64.b64decode(response, validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _read_path(verb: str, argument: str) -> Path | Refusal:
    found = _PATH.fullmatch(argument)
    if found is None or found[1].upper() != verb:
        return Refusal(f"501 5.5.4 Expected {verb}:<address>")
    pairs = (parameter.partition("=") for parameter in (found[3] or "").split())
    return Path(found[2], {name.upper(): value for name, _, value in pairs})


def _within_limits(path: Path, largest: int) -> Path | Refusal:
    size = path.parameters.get("SIZE", "0")
    if not (size.isascii() and size.isdigit()):
        return Refusal("501 5.5.4 SIZE is a number of bytes")
    if int(size[:20]) > largest:
        return Refusal(f"552 5.3.4 At most {largest} bytes")
    if path.parameters.get("BODY", "7BIT").upper() not in {"7BIT", "8BITMIME"}:
        return Refusal("501 5.5.4 BODY is 7BIT or 8BITMIME")
    if not path.address.isascii() and "SMTPUTF8" not in path.parameters:
        return Refusal("553 5.6.7 Such an address needs SMTPUTF8")
    return path
