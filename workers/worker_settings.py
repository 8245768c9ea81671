"""What a worker is told: its pools, limits and retry policies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import msgspec

from event_log.due_queue import CODES
from notification_domain.backoff import RetryPolicy
from workers.claiming import Pool

_SHARE_KEPT = 6
"""One place in so many is kept for codes: they find one however many invitations wait."""


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    claim_batch: int = 100
    """Notifications leased by one claim at most."""
    in_flight: int = 200
    """First attempts under way at once; claims wait when there are more. 0: this worker makes none."""
    retry_in_flight: int = 50
    """The same for retries."""
    poll: float = 1.0
    """Seconds; the longest a due first attempt waits when a wake-up is lost."""
    retry_poll: float = 1.0
    in_order: bool = False
    """Legacy mode: one notification an instance at a time, as they stand in the log."""
    startup_drain: bool = True
    """Whether what is due at the start is taken at once."""
    handle_active_instances: timedelta = timedelta(minutes=10)
    """How long an instance is remembered as served lately; 0 is for ever."""
    max_active_instances: int = 1000
    """How many are; 0 is all."""
    lease: timedelta = timedelta(seconds=30)
    dispatch_timeout: timedelta = timedelta(seconds=20)
    """Everything up to the point of no return; below the lease."""
    max_claims: int = 20
    result_buffer: int = 500
    """Results recorded in one commit at most."""
    result_sync: timedelta = timedelta()
    """How long a result may wait for others to share its commit."""
    drain: timedelta = timedelta(seconds=30)
    """How long a stopping worker waits for what is under way."""
    policy: RetryPolicy = RetryPolicy()
    policies: Mapping[str, RetryPolicy] = {}
    """Those of channels with one of their own."""

    def policy_of(self, channel: str) -> RetryPolicy:
        return self.policies.get(channel, self.policy)

    def pools(self) -> list[Pool]:
        """Those that are switched on."""
        if self.in_order:
            kinds = tuple(
                kind for kind, size in ((False, self.in_flight), (True, self.retry_in_flight)) if size
            )
            pools = [self._pool(kinds, self.in_flight + self.retry_in_flight, self.poll)]
        else:
            kept = self.in_flight // _SHARE_KEPT
            pools = [
                self._pool((False,), self.in_flight - kept, self.poll),
                self._pool((True,), self.retry_in_flight, self.retry_poll),
                # Half of them at once: one that hangs holds up no other, and a claim is worth its while.
                Pool(
                    retries=(False,),
                    size=kept,
                    batch=-(-kept // 2),
                    poll=self.poll,
                    priorities=CODES,
                    is_reserve=True,
                ),
            ]
        return [pool for pool in pools if pool.size]

    def _pool(self, retries: tuple[bool, ...], size: int, poll: float) -> Pool:
        batch = min(self.claim_batch, size)
        return Pool(retries=retries, size=size, batch=batch, poll=poll, in_order=self.in_order)
