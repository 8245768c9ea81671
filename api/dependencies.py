"""What the composition root hands to the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from event_log.database import Database
from event_log.intake import Intake
from event_log.log import Log
from notification_domain.policies import Deployment


class Limits(msgspec.Struct, frozen=True):
    """Seconds, each an upper bound."""

    body: float = 20.0
    """From the head of a request to the end of its body."""
    commit: float = 30.0
    """From a batch's submission to its commit."""
    min_position: float = 2.0
    """Waiting for the history to come as far as the caller asks."""
    key_cache: float = 1.0
    """How long a key that was just found valid is believed: a revoked one works no longer than this."""


@dataclass(frozen=True)
class Callbacks:
    """What it takes to tell a provider's callback from anybody else's."""

    public_url: str = ""
    """Where providers reach this deployment, as they were told; empty: nobody calls."""
    twilio_tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Auth tokens of the deployment's own accounts, by the provider's name in events."""


@dataclass(frozen=True)
class ApiDependencies:
    database: Database
    log: Log
    intake: Intake
    clock: Callable[[], datetime]
    cursor_key: bytes = field(repr=False)
    """Signs page cursors; all processes of a deployment share it."""
    limits: Limits = field(default_factory=Limits)
    deployment: Deployment = field(default_factory=Deployment)
    """What resending and redriving go by, as the handler does."""
    callbacks: Callbacks = field(default_factory=Callbacks)
