"""Ports: one that must be had, and others that may be any."""

from __future__ import annotations

import errno
import socket

from tidings.errors import PortTaken, TidingsError

BACKLOG = 2048


def bound_socket(host: str, port: int) -> socket.socket:
    """Bound, so that the port is ours, but not listening yet. Raises PortTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise _refusal(host, port, error) from None
    return made


def listen(bound: socket.socket) -> None:
    """Raises PortTaken when another process was quicker."""
    host, port = bound.getsockname()[:2]
    try:
        bound.listen(BACKLOG)
    except OSError as error:
        raise _refusal(host, port, error) from None


def free_port(host: str) -> int:
    with bound_socket(host, 0) as made:
        port: int = made.getsockname()[1]
        return port


def _refusal(host: str, port: int, error: OSError) -> TidingsError:
    if error.errno == errno.EADDRINUSE:
        return PortTaken(
            f"port {port} on {host} is in use by another program; choose one with --port or TIDINGS_PORT"
        )
    return TidingsError(f"cannot listen on {host}, port {port}: {error.strerror or error}")


def local_url(host: str, port: int) -> str:
    """How this machine reaches what listens there."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - read, not bound
    return f"http://{reached}:{port}"
