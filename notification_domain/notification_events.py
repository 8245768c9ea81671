"""The events of a notification: what its stream says, and the words they use.

Facts are bare: stream, version, position and the time of recording belong to the log's envelope.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

import msgspec

from notification_domain.recipients import User


class Source(msgspec.Struct, frozen=True, gc=False):
    """The source event a notification derives from; ``id`` and ``source`` are the caller's own."""

    subject: str
    version: int
    source: str
    id: str
    type: str


class Reason(StrEnum):
    """Why a notification was declined or cancelled: the whole list."""

    CODE_RETURNED = "code_returned"
    POLICY_OFF = "policy_off"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    CODE_USED = "code_used"
    USER_INACTIVE = "user_inactive"
    NO_RECIPIENT = "no_recipient"
    NO_ORIGIN = "no_origin"
    NO_PROVIDER = "no_provider"
    TEMPLATE_ERROR = "template_error"
    REJECTED = "rejected"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    SUPPRESSED = "suppressed"
    OPERATOR = "operator"


class NotificationRequested(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Everything known when it was decided that someone is to be told something."""

    rule: str
    message_type: str
    channel: str
    source: Source
    user_id: str = ""
    """Empty when only the source stream (a session) can tell, later."""
    organisation_id: str = ""
    arguments: dict[str, str] = {}
    origin: str = ""
    url_template: str = ""
    secret: str = ""
    """Reference of the code, kept outside the log."""
    generator_id: str = ""
    verified_only: bool = False
    otp: bool = False
    code_expires_at: datetime | None = None
    expires_at: datetime
    supersede_key: str
    priority: int
    decided_at: datetime
    position_seen: int
    """The last position of the log that this decision has taken into account."""


class NotificationDeclined(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The source event asked for nothing, and why."""

    rule: str
    message_type: str
    channel: str
    source: Source
    reason: Reason
    user_id: str = ""
    organisation_id: str = ""
    decided_at: datetime
    position_seen: int


class AttemptStarted(msgspec.Struct, frozen=True, gc=False):
    attempt: int
    lease_token: int
    provider: str


class TransmissionStarted(msgspec.Struct, frozen=True, gc=False):
    """The point of no return: from here on a crash leaves the outcome unknown."""

    attempt: int


class RetryRequested(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    attempt: int
    error: str
    stage: str
    recipient: User | None
    """As it was at this attempt; later attempts use it, whatever changes meanwhile."""
    backoff: float
    """Seconds; what the next delay grows from."""
    not_before: datetime
    counts: bool = True
    """Whether this attempt uses up one of the allowed ones."""


class Aftermath(StrEnum):
    RESEND = "resend"
    PARK = "park"
    EXPIRE = "expire"


class OutcomeUnknown(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Attempt ``attempt`` may or may not have arrived; ``aftermath`` is what the policy makes of it."""

    attempt: int
    error: str
    stage: str
    aftermath: Aftermath
    not_before: datetime
    recipient: User | None = None


class NotificationSent(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    attempt: int
    provider: str
    provider_message_id: str = ""
    reply: str = ""
    template_version: str = ""
    text_version: str = ""
    by: str = ""
    """Whose key said so, where a person resolved a doubt; ``reply`` is then the person's reason."""


class NotificationCancelled(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    reason: Reason
    attempt: int = 0
    error: str = ""
    stage: str = ""
    by: str = ""
    """Whose key gave it up, with the reason operator; ``error`` is then the person's reason."""


class ResendRequested(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An operator asked again: a new cycle, whose attempts are counted anew."""

    reason: str
    not_before: datetime
    expires_at: datetime
    by: str = ""
    """Whose key asked."""
    idempotency_key: str = ""
    """What the caller named this request; the same name never begins a second cycle."""


class Standing(StrEnum):
    """What a provider's later word means for a message."""

    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    FAILED = "failed"


class FeedbackReceived(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a provider reported later of attempt ``attempt``, in place of its answer or after it."""

    attempt: int
    provider: str
    provider_message_id: str = ""
    status: str
    """The provider's own word, such as ``undelivered``."""
    standing: Standing
    code: str = ""
    """The provider's error code, such as ``30005``."""
    error: str = ""


Event: TypeAlias = (
    NotificationRequested
    | NotificationDeclined
    | AttemptStarted
    | TransmissionStarted
    | RetryRequested
    | OutcomeUnknown
    | NotificationSent
    | NotificationCancelled
    | ResendRequested
    | FeedbackReceived
)
