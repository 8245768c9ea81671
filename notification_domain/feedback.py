"""What providers report later, weighed: which report proves something about a notification that is open."""

from __future__ import annotations

from collections.abc import Sequence

from notification_domain.notification_events import (
    FeedbackReceived,
    NotificationCancelled,
    NotificationSent,
    Reason,
    Standing,
)


def is_known(heard: Sequence[FeedbackReceived], feedback: FeedbackReceived) -> bool:
    """Providers repeat themselves: one event for each status and error of an attempt is enough."""
    return any(_gist(one) == _gist(feedback) for one in heard)


def _gist(feedback: FeedbackReceived) -> tuple[int, str, str]:
    return feedback.attempt, feedback.status, feedback.code


def arrived(heard: Sequence[FeedbackReceived], earlier: int) -> FeedbackReceived | None:
    """The newest proof that the provider has the message of an attempt after ``earlier``."""
    proofs = [one for one in heard if one.attempt > earlier and one.standing is not Standing.FAILED]
    return proofs[-1] if proofs else None


def failed(heard: Sequence[FeedbackReceived], attempt: int) -> FeedbackReceived | None:
    """The newest proof that this attempt came to nothing."""
    proofs = [one for one in heard if one.attempt == attempt and one.standing is Standing.FAILED]
    return proofs[-1] if proofs else None


def sent_by(proof: FeedbackReceived) -> NotificationSent:
    return NotificationSent(
        attempt=proof.attempt,
        provider=proof.provider,
        provider_message_id=proof.provider_message_id,
        reply=f"callback: {proof.status}",
    )


def rejected_by(proof: FeedbackReceived) -> NotificationCancelled:
    """Rejected after the fact: what a network refused once is not sent again."""
    words = " ".join(word for word in (proof.status, proof.code, proof.error) if word)
    return NotificationCancelled(reason=Reason.REJECTED, attempt=proof.attempt, error=words, stage="callback")
