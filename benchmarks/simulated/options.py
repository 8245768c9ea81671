"""Which faults are on in a schedule, and how often: drawn first, from its seed (swarm testing)."""

from __future__ import annotations

from random import Random

import msgspec


class Options(msgspec.Struct, frozen=True, kw_only=True):
    crash: float
    """Chance that a process is killed at one of its steps."""
    victims: str
    """Whom that befalls: the beginning of their names, empty for all."""
    crash_sending: float
    """Chance that a worker is killed at a stage of its talk with a provider."""
    crash_inside: float
    """Chance that it is killed at a crossing into the database, before or after a commit too."""
    unavailable: float
    doubtful: float
    """Chance that a commit happened and its caller is told that the database is away."""
    freeze: float
    interleave: float
    """Chance that others go on between two statements or transactions of a process."""
    outage: bool
    skew: int
    """Seconds by which clocks of processes differ from the database's, at most."""
    lost_wakes: float
    duplicates: float
    """Chance that a client sends again what was accepted."""
    trouble: float
    """Chance that a provider does not just take a message."""
    slow: float
    """Chance that a provider takes longer than a lease."""
    workers: int
    handlers: int
    operator: bool
    poison: bool
    deadly: bool
    """One message kills every worker that prepares to send it."""
    starts_over: bool
    """The handler forgets how far it has come."""
    stops: bool
    """Workers are told to stop and started anew."""
    triggers: int
    chaos_steps: int
    max_attempts: int
    lease: int
    poll: int
    batch: int
    claim_batch: int
    in_order: float
    """Chance that a worker's process begins in legacy mode; in between, each of its starts may switch."""
    gather: float
    """Seconds that results gather."""
    at_once: int
    calls_back: float = 0.4
    """Chance that a provider reports later what became of a message."""
    hesitates: float = 0.5
    """Chance that others go on before something is cancelled, and unlock the user who was in the way."""
    mended: float = 0.5
    """Chance that what was poison is understood by the version that is at work after the healing."""


def draw(random: Random) -> Options:
    def often(chance: float) -> bool:
        return random.random() < chance

    def rate(*values: float) -> float:
        return random.choice(values)

    return Options(
        crash=rate(0.0, 0.03, 0.06, 0.1),
        victims=random.choice(("", "", "worker", "worker", "handler", "api")),
        crash_sending=rate(0.0, 0.05, 0.2),
        crash_inside=rate(0.0, 0.02, 0.05),
        unavailable=rate(0.0, 0.0, 0.01),
        doubtful=rate(0.0, 0.05, 0.15),
        freeze=rate(0.0, 0.004, 0.015),
        interleave=rate(0.0, 0.05, 0.15),
        outage=often(0.2),
        skew=random.choice((0, 0, 1, 20)),
        lost_wakes=rate(0.0, 0.3, 1.0),
        duplicates=rate(0.0, 0.3),
        trouble=rate(0.0, 0.3, 0.7),
        slow=rate(0.0, 0.1, 0.5),
        workers=random.choice((1, 1, 2, 2, 3, 4)),
        handlers=random.choice((1, 1, 2)),
        operator=often(0.4),
        poison=often(0.1),
        deadly=often(0.1),
        starts_over=often(0.1),
        stops=often(0.2),
        triggers=random.choice((1, 2, 2, 3)),
        chaos_steps=random.choice((140, 240, 360)),
        max_attempts=random.choice((1, 2, 3, 5)),
        lease=random.choice((10, 30)),
        poll=random.choice((8, 20)),
        batch=random.choice((1, 2, 500, 500)),
        claim_batch=random.choice((1, 2, 100)),
        in_order=rate(0.0, 0.0, 0.0, 0.0, 0.5, 1.0),
        gather=rate(0.0, 0.0, 0.5),
        at_once=random.choice((1, 4)),
    )
