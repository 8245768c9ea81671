"""What can stop a rebuild; whatever does, the table in use stays as it was.

RebuildError
├── NotRebuildable      no projection of that name can be rebuilt
├── AlreadyRebuilding   somebody else is rebuilding the same one
├── RebuildBlocked      the table could not be had for the swap; try again
└── Unfaithful          the log does not tell any more what the projection once read from it
"""

from __future__ import annotations


class RebuildError(Exception):
    """Base of what can stop a rebuild."""


class NotRebuildable(RebuildError):
    """No projection of that name can be rebuilt."""


class AlreadyRebuilding(RebuildError):
    """Somebody else is rebuilding the same projection."""


class RebuildBlocked(RebuildError):
    """Others held the table or its writer's lock whenever it was asked for."""


class Unfaithful(RebuildError):
    """The result would not be what the projection is: an event it once read can be read no more."""
