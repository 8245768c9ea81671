"""What can go wrong in the log.

EventLogError
├── LogUnavailable        the database is away or a lock wait took too long; try again
├── Overloaded            more is waiting than this process takes on; try again later
├── DatabaseUnusable      the server or its rights are not as they must be; a person has to act
├── MigrationFailed       a migration cannot be applied
├── Undecodable           stored bytes cannot be read back
│   └── UnknownTopic      written by newer code than this
└── LostRace              another process holds what this one believed to hold
"""

from __future__ import annotations


class EventLogError(Exception):
    """Base of all errors of this package."""


class LogUnavailable(EventLogError):
    """The database is away or a lock wait took too long; the same call may succeed later."""


class Overloaded(EventLogError):
    """More appends are waiting than this process takes on."""


class DatabaseUnusable(EventLogError):
    """The server, its settings or our rights are not as they must be; the message says what to do."""


class MigrationFailed(EventLogError):
    """A migration cannot be applied, or an applied one has changed."""


class Undecodable(EventLogError):
    """Stored bytes cannot be read back: damaged, sealed under a destroyed key, or of an unknown shape."""


class UnknownTopic(Undecodable):
    """One of our own topics that this version of the code does not know."""


class LostRace(EventLogError):
    """Another process took over what this one believed to hold; nothing was written."""
