"""Where the settings of workers come from: what other systems call them, and the values they have there."""

from __future__ import annotations

import re

import msgspec


class Origin(msgspec.Struct, frozen=True):
    """A key of another system that one of our settings (below ``workers``) serves."""

    setting: str
    system: str
    key: str
    value: str = ""
    """As it is written here; empty where it is not known, or is ours already."""


ZITADEL, CODER, OUTBOX = "ZITADEL", "Coder", "mail outbox"

ORIGINS = (
    Origin("workers", ZITADEL, "Workers", "1"),
    Origin("retry_workers", ZITADEL, "RetryWorkers", "1"),
    Origin("bulk_limit", ZITADEL, "BulkLimit", "10"),
    Origin("requeue_every", ZITADEL, "RequeueEvery", "2s"),
    Origin("retry_requeue_every", ZITADEL, "RetryRequeueEvery", "2s"),
    Origin("handle_active_instances", ZITADEL, "HandleActiveInstances", "0s"),
    Origin("max_active_instances", ZITADEL, "MaxActiveInstances", "0"),
    Origin("transaction_duration", ZITADEL, "TransactionDuration", "10s"),
    Origin("max_attempts", ZITADEL, "MaxAttempts", "3"),
    Origin("max_ttl", ZITADEL, "MaxTtl", "5m"),
    Origin("min_retry_delay", ZITADEL, "MinRetryDelay", "1s"),
    Origin("max_retry_delay", ZITADEL, "MaxRetryDelay", "20s"),
    Origin("retry_delay_factor", ZITADEL, "RetryDelayFactor", "1.5"),
    Origin("legacy_mode", ZITADEL, "LegacyEnabled"),
    Origin("dispatch_timeout", CODER, "DISPATCH_TIMEOUT", "1m"),
    Origin("max_attempts", CODER, "MAX_SEND_ATTEMPTS", "5"),
    Origin("min_retry_delay", CODER, "RETRY_INTERVAL", "5m"),
    Origin("max_retry_delay", CODER, "RETRY_INTERVAL", "5m"),
    Origin("retry_delay_factor", CODER, "RETRY_INTERVAL", "1"),
    Origin("lease_period", CODER, "LEASE_PERIOD", "2m"),
    Origin("bulk_limit", CODER, "LEASE_COUNT", "20"),
    Origin("requeue_every", CODER, "FETCH_INTERVAL", "15s"),
    Origin("retry_requeue_every", CODER, "FETCH_INTERVAL", "15s"),
    Origin("store_sync_interval", CODER, "STORE_SYNC_INTERVAL", "2s"),
    Origin("result_buffer_size", CODER, "STORE_SYNC_BUFFER_SIZE", "50"),
    Origin("bulk_limit", OUTBOX, "claimBatchSize", "16"),
    Origin("requeue_every", OUTBOX, "WorkerInterval"),
    Origin("startup_drain", OUTBOX, "the first tick", "true"),
    Origin("max_attempts", OUTBOX, "MaxAttempts"),
    Origin("min_retry_delay", OUTBOX, "backoffBase"),
    Origin("retry_delay_factor", OUTBOX, "backoffFactor"),
    Origin("max_retry_delay", OUTBOX, "backoffMax"),
    Origin("jitter", OUTBOX, "backoffJitter"),
)
"""The first setting an origin's key is listed for is the one to name when somebody uses that key."""

_EARLIER = {"concurrency": "workers", "poll": "requeue_every", "syncinterval": "store_sync_interval"}


def profile(system: str) -> dict[str, str]:
    """A system's own values, by our keys."""
    return {origin.setting: origin.value for origin in ORIGINS if origin.system == system and origin.value}


def serves(foreign: str) -> str | None:
    """Our key (below ``workers``) for what another system calls ``foreign``, in any spelling."""
    known = dict(_EARLIER)
    for origin in ORIGINS:
        known.setdefault(_plain(origin.key), origin.setting)
    return known.get(_plain(foreign))


def _plain(key: str) -> str:
    return re.sub(r"[^a-z]", "", key.lower())
