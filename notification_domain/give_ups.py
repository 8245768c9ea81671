"""Give-ups: somebody was to be told something, and no worker will try again by itself."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from notification_domain.notification_events import (
    Aftermath,
    Event,
    NotificationCancelled,
    OutcomeUnknown,
    Reason,
)

NOT_TOLD = frozenset(
    {
        Reason.EXPIRED,
        Reason.NO_RECIPIENT,
        Reason.NO_ORIGIN,
        Reason.NO_PROVIDER,
        Reason.TEMPLATE_ERROR,
        Reason.REJECTED,
        Reason.ATTEMPTS_EXHAUSTED,
    }
)
"""By these somebody misses what was asked for; docs/give-up.md says why the others are none."""

OUTCOME_UNKNOWN, CLAIMS_EXHAUSTED = "outcome_unknown", "claims_exhausted"
_BEFORE_ANY_ATTEMPT = "claim"


class Kind(StrEnum):
    GIVEN_UP = "given_up"
    PARKED = "parked"
    """Nothing more happens until a person resolves it."""


class GiveUp(msgspec.Struct, frozen=True):
    kind: Kind
    reason: str
    stage: str


def give_up(event: Event) -> GiveUp | None:
    """What an event says of giving up; None for one that says nothing of it."""
    match event:
        case NotificationCancelled(reason=reason, stage=stage) if reason in NOT_TOLD:
            return GiveUp(Kind.GIVEN_UP, reason.value, stage)
        case OutcomeUnknown(aftermath=Aftermath.PARK, stage=stage):
            return GiveUp(
                Kind.PARKED, CLAIMS_EXHAUSTED if stage == _BEFORE_ANY_ATTEMPT else OUTCOME_UNKNOWN, stage
            )
        case _:
            return None
