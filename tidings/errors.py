"""What can go wrong while Tidings is set up, started or asked; each carries the exit status it ends with.

TidingsError (1)
├── SettingsInvalid (2)     one or more settings are wrong; ``faults`` holds a sentence for each
├── BadInput (2)            a command was given something it cannot use
├── NotFound (3)            the thing that was named does not exist
├── Unreachable (4)         a service or a database does not answer
├── Refused (1)             the service answered with a problem document
└── PortTaken (1)           the port is in use
"""

from __future__ import annotations

from collections.abc import Sequence

FAILED = 1
BAD_USAGE = 2
NOT_FOUND = 3
UNREACHABLE = 4


class TidingsError(Exception):
    """Base of the errors a command reports in one sentence each, without a traceback."""

    status = FAILED

    @property
    def sentences(self) -> tuple[str, ...]:
        return (str(self),)


class SettingsInvalid(TidingsError):
    status = BAD_USAGE

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)

    @property
    def sentences(self) -> tuple[str, ...]:
        return self.faults


class BadInput(TidingsError):
    """A command was given something it cannot use."""

    status = BAD_USAGE


class NotFound(TidingsError):
    status = NOT_FOUND


class Unreachable(TidingsError):
    status = UNREACHABLE


class Refused(TidingsError):
    """The service refused a request; ``problem`` is its RFC 9457 document."""

    def __init__(self, http_status: int, problem: dict[str, object]) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or f"HTTP {http_status}"))
        self.http_status = http_status
        self.problem = problem


class PortTaken(TidingsError):
    pass
