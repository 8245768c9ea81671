"""Which addresses a request that somebody else configured may go to: never into a network of our own."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

PUBLIC_PORTS = (443, 8443)

# ``is_global`` of the standard library lets translated, tunnelled and newer special ranges through.
_SPECIAL = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
    )
)  # fmt: skip
_PUBLIC = IPv6Network("2000::/3")
_SPECIAL_6 = tuple(IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
# Whatever ends in a number is read as an address by resolvers, in forms such as 127.1 or 0x7f.1.
_LIKE_A_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", re.IGNORECASE)
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?", re.IGNORECASE)


class ForbiddenAddress(OSError):
    """The name leads, or the socket would go, to where nothing may be sent."""


class Guard:
    """``own`` are networks that are allowed all the same, with plain http and any port."""

    def __init__(self, own: Sequence[Network] = ()) -> None:
        self._own = tuple(own)

    def fault(self, url: str) -> str | None:
        """What is wrong with the address as it is written; None when nothing is."""
        fault = _fault_of_spelling(url)
        if fault is not None:
            return fault
        host = urlsplit(url).hostname or ""
        public = _is_public(url)
        if not public and not self._own:
            return "the endpoint must be https, on port 443 or 8443"
        literal = _literal(host)
        if literal is not None and not self.permits(literal, public=public):
            return f"the endpoint's address {host} is not one that may be called"
        return None

    def permits(self, address: Address, *, public: bool) -> bool:
        """``public`` tells whether scheme and port are those that the open network may be called on."""
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        if any(address in network for network in self._own):
            return True
        if not public:
            return False
        if isinstance(address, IPv4Address):
            return not any(address in network for network in _SPECIAL)
        return address in _PUBLIC and not any(address in network for network in _SPECIAL_6)

    def connector(self, url: str, *, limit: int) -> aiohttp.TCPConnector:
        """Connections to this address alone, checked when the name is found and again when they are made.

        Made inside the running loop.
        """
        public = _is_public(url)
        return aiohttp.TCPConnector(
            limit=limit,
            keepalive_timeout=2.0,
            use_dns_cache=False,
            resolver=_GuardedResolver(self, public=public),
            socket_factory=_socket_factory(self, public=public),
        )

    def session(
        self, url: str, *, timeout: float, limit: int, traces: Sequence[aiohttp.TraceConfig] = ()
    ) -> aiohttp.ClientSession:
        """``timeout`` seconds for a whole request; no proxy, no cookies. Made inside the running loop."""
        return aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=timeout),
            connector=self.connector(url, limit=limit),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            trace_configs=list(traces),
        )


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Raises ValueError."""
    return tuple(ip_network(text) for text in texts)


def _is_public(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" and (parts.port or 443) in PUBLIC_PORTS


def _fault_of_spelling(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        return f"the endpoint is no address: {error}"
    if parts.scheme not in {"https", "http"} or not host:
        return "the endpoint must be an address that begins with https://"
    if parts.username is not None or parts.password is not None:
        return "the endpoint must name no user and no password"
    if any(sign <= " " for sign in url) or not _host_is_plain(host):
        return "the endpoint's host must be a name, in ASCII, or an address as it is usually written"
    return None


def _host_is_plain(host: str) -> bool:
    literal = _literal(host)
    if literal is not None:
        return True
    return bool(_HOST.fullmatch(host)) and not _LIKE_A_NUMBER.fullmatch(host)


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


class _GuardedResolver(AbstractResolver):
    """Refuses a name when any of its addresses is forbidden."""

    def __init__(self, guard: Guard, *, public: bool) -> None:
        self._guard = guard
        self._public = public
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for result in found:
            _check(self._guard, result["host"], public=self._public)
        return found

    async def close(self) -> None:
        await self._inner.close()


def _socket_factory(guard: Guard, *, public: bool) -> aiohttp.SocketFactoryType:
    def make(info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        _check(guard, str(address[0]), public=public)
        return socket.socket(family, kind, protocol)

    return make


def _check(guard: Guard, address: str, *, public: bool) -> None:
    if not guard.permits(ip_address(address.partition("%")[0]), public=public):
        raise ForbiddenAddress(f"{address} is not an address that may be called")
