"""Taking in what a provider reports later: whose word it must be, and what becomes of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import msgspec

from event_log import provider_settings, secret_store
from event_log.callbacks import Reference
from event_log.commands import TRIES
from event_log.envelope import RecordedEvent
from event_log.errors import LogUnavailable, Undecodable
from event_log.log import Log, read_stream
from event_log.notifications import Move, fold_stream, store_unless_overtaken
from notification_domain.notification import Declined, HearFeedback, Initial, decide, go_on
from notification_domain.notification_events import AttemptStarted, FeedbackReceived, Standing
from notification_domain.outcomes import Deferred, Delivered, Outcome, Rejected, Unknown
from notification_domain.providers import Twilio

_logger = logging.getLogger(__name__)


class Report(msgspec.Struct, frozen=True):
    """What a provider says of a message, in our terms where they differ."""

    status: str
    standing: Standing
    code: str = ""
    error: str = ""
    provider_message_id: str = ""


LATE_REPLY = "late reply"
"""The status of what a provider answered when the attempt was no longer ours to end."""


def late_reply(outcome: Outcome) -> Report | None:
    """What an answer that comes too late still tells; None when it says nothing for good."""
    match outcome:
        case Delivered(provider_message_id, reply):
            return Report(LATE_REPLY, Standing.ACCEPTED, error=reply, provider_message_id=provider_message_id)
        case Rejected(error=error):
            return Report(LATE_REPLY, Standing.FAILED, error=error)
        case Deferred() | Unknown():
            return None


def twilio_tokens(log: Log, reference: Reference, deployment: Mapping[str, str]) -> list[str]:
    """The auth tokens that may have signed a report of this attempt; ``deployment`` has its own, by provider.

    Empty where there is no such notification or attempt, or its account has been removed since.
    """
    history = read_stream(log, reference.notification)
    provider = _provider_of(history, reference.attempt)
    if not provider:
        return []
    own = [deployment[provider]] if provider in deployment else []
    return own + _stored_token(log, history[0].instance, provider)


def _stored_token(log: Log, instance: str, provider: str) -> list[str]:
    with log.database.connection() as connection:
        cursor = connection.cursor()
        stored = provider_settings.newest(log, cursor, [instance], {})[instance]
        known = stored.providers.named(provider)
        if known is None or not isinstance(known.account, Twilio):
            return []
        return list(secret_store.reveal(cursor, log.secret_seal, [known.account.token]).values())


def _provider_of(history: Sequence[RecordedEvent], attempt: int) -> str:
    started = (event.fact for event in history if isinstance(event.fact, AttemptStarted))
    return next((fact.provider for fact in started if fact.attempt == attempt), "")


def hear(log: Log, reference: Reference, report: Report) -> None:
    """Record a report that is known to be the provider's own, with all that follows from it.

    What was said before, or says nothing, leaves no event.
    """
    for _ in range(TRIES):
        move = _move(log, reference, report)
        if move is None or store_unless_overtaken(log, move):
            return
    raise LogUnavailable(f"notification {reference.notification} moves too fast to be caught")


def _move(log: Log, reference: Reference, report: Report) -> Move | None:
    history = read_stream(log, reference.notification)
    try:
        state = fold_stream(history)
    except Undecodable as error:
        # A newer version writes here: a stream that is not understood is left alone.
        _logger.warning("feedback on notification %s is lost: %s", reference.notification, error)
        return None
    feedback = FeedbackReceived(
        attempt=reference.attempt,
        provider=_provider_of(history, reference.attempt),
        **msgspec.structs.asdict(report),
    )
    events = decide(state, HearFeedback(feedback))
    if not events or isinstance(state, Initial | Declined):
        return None
    return Move(reference.notification, history[0].instance, events, len(history), go_on(state, events))
