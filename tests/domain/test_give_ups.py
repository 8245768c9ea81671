from __future__ import annotations

import pytest

from notification_domain.give_ups import GiveUp, Kind, give_up
from notification_domain.notification_events import (
    Aftermath,
    NotificationCancelled,
    NotificationSent,
    OutcomeUnknown,
    Reason,
)
from tests.domain.examples import NOW

NOBODY_MISSES_ANYTHING = {
    Reason.SUPERSEDED,
    Reason.CODE_USED,
    Reason.USER_INACTIVE,
    Reason.SUPPRESSED,
    Reason.OPERATOR,
}
ONLY_DECLINED = {Reason.CODE_RETURNED, Reason.POLICY_OFF}


@pytest.mark.parametrize("reason", Reason)
def test_a_cancellation_is_a_give_up_when_somebody_misses_what_was_asked(reason: Reason) -> None:
    told = give_up(NotificationCancelled(reason=reason, attempt=2, error="550 no", stage="rcpt"))
    if reason in NOBODY_MISSES_ANYTHING | ONLY_DECLINED:
        assert told is None
    else:
        assert told == GiveUp(Kind.GIVEN_UP, reason.value, "rcpt")


@pytest.mark.parametrize(("stage", "reason"), [("dot", "outcome_unknown"), ("claim", "claims_exhausted")])
def test_a_parked_notification_is_a_give_up_of_its_own_kind(stage: str, reason: str) -> None:
    assert give_up(_unknown(stage, Aftermath.PARK)) == GiveUp(Kind.PARKED, reason, stage)


def test_nothing_is_given_up_when_it_was_sent() -> None:
    assert give_up(NotificationSent(attempt=1, provider="smtp")) is None


@pytest.mark.parametrize("aftermath", [Aftermath.RESEND, Aftermath.EXPIRE])
def test_a_doubt_is_no_give_up_when_it_is_not_parked(aftermath: Aftermath) -> None:
    assert give_up(_unknown("dot", aftermath)) is None


def _unknown(stage: str, aftermath: Aftermath) -> OutcomeUnknown:
    return OutcomeUnknown(attempt=1, error="lost", stage=stage, aftermath=aftermath, not_before=NOW)
