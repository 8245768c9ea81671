"""Which faults are on in a schedule, and how often: drawn first, from its seed (swarm testing)."""

from __future__ import annotations

from random import Random
from typing import Any

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
    theme: str = ""
    """What most stories are about; empty for everything."""
    max_claims: int = 6
    """Claims that may be lost before a message is parked."""
    minutes: int = 0
    """After which the deployment gives up, instead of what its seed has chosen."""
    deadly_later: bool = False
    """What is handed over is refused at first, and then kills every worker that prepares it again."""
    unclear: float = 0.0
    """Chance that nobody is told, or can tell, whether a message was taken."""
    organisations: bool = False
    """Users belong to organisations, which are removed, and so are instances."""
    others: float = 0.0
    """Chance that another sender speaks after a while: tells that a message went out, and what for."""
    made_elsewhere: float = 0.0
    """Chance that a provider makes the code of a text message, and checks it."""
    unlimited: float = 0.0
    """Chance that a code has no expiry of its own."""
    locks: float = 0.0
    """Chance that a user is locked while their session asks for a code."""
    undigested: float = 0.0
    """Chance, where there is poison, that what nobody understands follows a trigger or an attempt."""
    dawdles: float = 0.0
    """Chance that a commit waits for seconds in its lane."""
    prepares_slowly: float = 0.0
    """Chance that others go on while a message is prepared."""
    overtaken: float = 0.0
    """Chance that others go on before what a person or a provider says of a notification is stored."""
    unreadable: float = 0.0
    """Chance that a worker cannot read a row of the recipients, or an event that came later."""
    least_jitter: float = 0.0
    """What chance gives at least to a pause, so that it shows."""
    cut_again: float = 0.0
    """Chance that the question after a lost answer is not answered either."""


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


_CALM = {"crash": 0.0, "crash_inside": 0.0, "crash_sending": 0.0, "freeze": 0.0, "outage": False}
_IN_DOUBT = {"trouble": 0.1, "unclear": 0.8, "max_attempts": 3, "triggers": 5}
_PLOTS: tuple[dict[str, Any], ...] = (
    {"trouble": 0.7},
    {"operator": True, "overtaken": 0.5},
    {"theme": "invitation"} | _IN_DOUBT,
    {"theme": "text", "made_elsewhere": 1.0, "unlimited": 0.5} | _IN_DOUBT,
    {"theme": "session", "made_elsewhere": 1.0, "unlimited": 0.5} | _IN_DOUBT,
    {"theme": "session", "locks": 0.7},
    {"poison": True, "undigested": 0.7, "least_jitter": 0.125, "slow": 0.5, "lease": 30, "trouble": 0.1},
    {"cut_again": 0.8, "doubtful": 0.2},
    {"dawdles": 0.8, "skew": 0, "triggers": 5},
    {"prepares_slowly": 0.6, "skew": 0, "trouble": 0.5, "triggers": 5},
    {
        "deadly_later": True,
        "max_claims": 2,
        "max_attempts": 3,
        "trouble": 0.1,
        "unclear": 0.0,
        "calls_back": 0.9,
    },
    {},
    {},
)
"""What must come together to come to anything."""


def draw_later(random: Random) -> dict[str, Any]:
    """What came in later: half of the schedules have nothing of it, so that they stay what they were."""
    if random.random() < 0.5:
        return {}

    def rate(*values: float) -> float:
        return random.choice((0.0, 0.0, *values))

    drawn: dict[str, Any] = {
        "theme": random.choice(("", "", "text", "invitation", "session")),
        "triggers": random.choice((2, 3, 5)),
        "max_claims": random.choice((6, 2)),
        "minutes": random.choice((0, 0, 1)),
        "unclear": rate(0.4, 0.8),
        "organisations": random.random() < 0.5,
        "others": rate(0.3, 1.0),
        "made_elsewhere": rate(0.5, 1.0),
        "unlimited": rate(0.3, 0.7),
        "locks": rate(0.5),
        "undigested": rate(0.5),
        "dawdles": rate(0.2),
        "prepares_slowly": rate(0.2),
        "overtaken": rate(0.5),
        "unreadable": rate(0.1, 0.3),
        "least_jitter": random.choice((0.0, 0.125)),
        "calls_back": random.choice((0.4, 0.9)),
    }
    if random.random() < 0.2:
        drawn |= {"poison": True}
    if random.random() < 0.6:  # enough else goes wrong
        drawn |= _CALM | {"workers": random.choice((1, 1, 2)), "handlers": 1}
        drawn |= {"chaos_steps": random.choice((360, 500))}
    return drawn | random.choice(_PLOTS)
