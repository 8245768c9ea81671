"""The settings of workers: their pools, claims, leases and retries."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from tidings.durations import Duration, format_duration
from tidings.provider_settings import SettingsGroup

FENCE_MARGIN = timedelta(seconds=2)
"""A lease counts as lost so long before its end (``event_log.due_queue`` says the same)."""
LEAST_LEASE = 3 * FENCE_MARGIN / 2
"""It is renewed at a third: with less, it would count as lost before it is."""

_MOST_BY_DEFAULT = 4

Count = Annotated[int, Field(ge=1, le=1000)]
Pause = Annotated[Duration, Field(gt=timedelta())]
Factor = Annotated[float, Field(ge=0, le=100)]
Share = Annotated[float, Field(ge=0, le=1)]


class ChannelRetries(SettingsGroup):
    """What one channel does otherwise; unset: as all channels."""

    max_attempts: Count | None = Field(default=None, description="Instead of workers.max_attempts.")
    min_retry_delay: Pause | None = Field(default=None, description="Instead of workers.min_retry_delay.")
    max_retry_delay: Pause | None = Field(default=None, description="Instead of workers.max_retry_delay.")
    retry_delay_factor: Factor | None = Field(
        default=None, description="Instead of workers.retry_delay_factor."
    )
    jitter: Share | None = Field(default=None, description="Instead of workers.jitter.")


class Channels(SettingsGroup):
    email: ChannelRetries = ChannelRetries()
    sms: ChannelRetries = ChannelRetries()


class WorkerSettings(SettingsGroup):
    processes: int | None = Field(
        default=None,
        ge=0,
        le=64,
        description="Worker processes that `tidings up` starts; 0 delivers nothing; unset: one a core, "
        "at most 4.",
    )
    workers: int = Field(
        default=200,
        ge=0,
        le=10000,
        description="First attempts at once in a worker process; 0 leaves them to other processes.",
    )
    retry_workers: int = Field(
        default=50,
        ge=0,
        le=10000,
        description="Retries at once in a worker process; 0 leaves them to others.",
    )
    bulk_limit: int = Field(default=100, ge=1, le=1000, description="Notifications taken in one claim.")
    requeue_every: Pause = Field(
        default=timedelta(seconds=1),
        description="Longest pause between looks at the queue for first attempts; wake-ups come before it.",
    )
    retry_requeue_every: Pause = Field(
        default=timedelta(seconds=1), description="The same for retries: how exactly their time is kept."
    )
    startup_drain: bool = Field(
        default=True, description="Whether what is due is taken at the start, before any wake-up or pause."
    )
    handle_active_instances: Duration = Field(
        default=timedelta(minutes=10),
        description="How long an instance counts as served lately and yields to others; 0: for ever. "
        "Orders the round and never leaves anybody out.",
    )
    max_active_instances: int = Field(
        default=1000, ge=0, description="Instances remembered as served lately; 0: all."
    )
    transaction_duration: Pause = Field(
        default=timedelta(seconds=10),
        description="Longest a statement of a worker's transaction may take; then it is rolled back and "
        "tried again. No transaction is open while a message is sent.",
    )
    lease_period: Duration = Field(
        default=timedelta(seconds=30), description="How long a claim lasts unless renewed."
    )
    dispatch_timeout: Pause = Field(
        default=timedelta(seconds=20),
        description="Limit for all that happens before transmission; 2s shorter than lease_period at least.",
    )
    stop_timeout: Duration = Field(
        default=timedelta(seconds=30),
        description="How long a worker that is told to stop waits for what it has begun; what is in "
        "transmission then is recorded as unknown.",
    )
    max_attempts: Count = Field(default=20, description="Attempts before a notification is given up.")
    max_claims: Count = Field(default=20, description="Lost claims before a notification is parked.")
    max_ttl: Pause | None = Field(
        default=None,
        description="Age at which a notification is given up, at its code's expiry at the latest; "
        "unset: the code's expiry, else 72h.",
    )
    min_retry_delay: Pause = Field(
        default=timedelta(seconds=5), description="Pause before the second attempt."
    )
    max_retry_delay: Pause = Field(
        default=timedelta(minutes=30), description="Longest pause between attempts."
    )
    retry_delay_factor: Factor = Field(
        default=2.0, description="Growth of the pause; below 1 counts as 1: the pause stays the same."
    )
    jitter: Share = Field(
        default=1.0, description="How much of that growth is left to chance: 0 nothing, 1 all of it."
    )
    result_buffer_size: Count = Field(default=500, description="Results recorded in one commit at most.")
    store_sync_interval: Duration = Field(
        default=timedelta(), description="How long a result may wait for others to share its commit."
    )
    legacy_mode: bool = Field(
        default=False, description="One notification an instance at a time, in the order of the log."
    )
    metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port of a worker process's own numbers for Prometheus, at /metrics; unset: nowhere. "
        "Further processes of `tidings up` take the ports that follow.",
    )
    channels: Channels = Channels()

    @model_validator(mode="after")
    def limits_agree(self) -> Self:
        for wrong, sentence in self._contradictions():
            if wrong:
                raise ValueError(sentence)
        return self

    def _contradictions(self) -> list[tuple[bool, str]]:
        lease = self.lease_period
        nobody = not self.workers and not self.retry_workers
        hopeless = self.max_ttl is not None and self.max_attempts > 1 and self.max_ttl < self.min_retry_delay
        return [
            (
                self.dispatch_timeout > lease - FENCE_MARGIN,
                "dispatch_timeout must be shorter than lease_period by 2s: in its last 2s a lease is lost",
            ),
            (
                lease <= LEAST_LEASE,
                f"lease_period must be longer than {format_duration(LEAST_LEASE)}: its last 2s do not count",
            ),
            (
                self.store_sync_interval >= lease,
                "store_sync_interval must be shorter than lease_period, or results outlive their claims",
            ),
            (
                nobody and self.processes != 0,
                "workers and retry_workers are both 0; to deliver nothing on purpose set processes: 0",
            ),
            (
                self.legacy_mode and not (self.workers and self.retry_workers),
                "legacy_mode keeps first attempts and retries in one order; workers or retry_workers is 0",
            ),
            (hopeless, "max_ttl must not be shorter than min_retry_delay, or nothing is ever tried again"),
            *self._contradicting_delays(),
        ]

    def _contradicting_delays(self) -> list[tuple[bool, str]]:
        found = [
            (
                self.min_retry_delay > self.max_retry_delay,
                "min_retry_delay must not be longer than max_retry_delay",
            )
        ]
        for name in Channels.model_fields:
            least, most = self.of(name, "min_retry_delay"), self.of(name, "max_retry_delay")
            sentence = f"channels.{name}: min_retry_delay must not be longer than max_retry_delay"
            found.append((least > most, sentence))
        return found

    def of(self, channel: str, name: str) -> Any:  # noqa: ANN401  # numbers and durations
        """A setting of the retries as it holds for a channel."""
        own = getattr(getattr(self.channels, channel), name)
        return getattr(self, name) if own is None else own


def worker_processes(wanted: int | None, cores: int) -> int:
    """How many `tidings up` starts: one alone leaves cores idle while it waits for its commits."""
    return wanted if wanted is not None else min(cores, _MOST_BY_DEFAULT)
