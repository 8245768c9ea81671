"""The grammar of e-mail addresses that we send to: narrower than RFC 5321, and checked before any library.

Only dot-atom local parts and domain names: quoted local parts, comments and address literals are refused,
because each of them is a way to smuggle a second argument into an SMTP command.
"""

from __future__ import annotations

import re

import idna
import msgspec

LONGEST_LOCAL_PART = 64
LONGEST_ADDRESS = 254
"""Octets; RFC 5321 allows a path of 256 with its angle brackets."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
_LOCAL_PART = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


class Unfit(msgspec.Struct, frozen=True):
    """No mail can go to this address."""

    why: str


def wire_address(address: str) -> bytes | Unfit:
    """The address as SMTP carries it, its domain in A-labels, or why it is not fit for an SMTP command."""
    local_part, at, domain = address.rpartition("@")
    if not at:
        return Unfit("the address has no @")
    if not _LOCAL_PART.fullmatch(local_part) or not local_part.isprintable():
        return Unfit("the part before the @ is not a plain dot-atom")
    name = _domain_name(domain) if len(domain) <= LONGEST_ADDRESS else None
    if name is None:
        return Unfit("the part after the @ is not a domain name")
    wire = f"{local_part}@{name}".encode()
    if len(wire) - 1 - len(name) > LONGEST_LOCAL_PART:
        return Unfit(f"the part before the @ is longer than {LONGEST_LOCAL_PART} octets")
    if len(wire) > LONGEST_ADDRESS:
        return Unfit(f"the address is longer than {LONGEST_ADDRESS} octets")
    return wire


def _domain_name(domain: str) -> str | None:
    """IDNA 2008 with the mapping of UTS 46; Python's own codec would send a mail for ß to another domain."""
    try:
        name = domain if domain.isascii() else idna.encode(domain, uts46=True).decode()
    except UnicodeError:
        return None
    return name if _DOMAIN.fullmatch(name) else None
