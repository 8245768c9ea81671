"""A provider account that is left alone while it is itself at fault, so that no message pays for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeAlias

from event_log.errors import EventLogError
from event_log.provider_settings import AccountPause
from notification_domain.outcomes import Deferred, Delivered, Outcome, Rejected, Unknown
from workers.channels.port import Channel, Message, PointOfNoReturn

_logger = logging.getLogger(__name__)

FIRST_PAUSE = timedelta(seconds=15)
LONGEST_PAUSE = timedelta(minutes=10)
_ABOUT_THE_MESSAGE = {"reply", "rcpt", "data", "dot"}
"""Stages that a provider reaches with accounts alone that it takes."""

Note: TypeAlias = Callable[[AccountPause | None], None]
"""Makes the pause, or its end, known outside this process; blocks."""


class Account:
    """A channel that pauses itself by the answers it gets; implements the port ``Channel``.

    After a pause one message goes out as a probe; the others wait for what comes of it.
    """

    def __init__(self, channel: Channel, clock: Callable[[], datetime], note: Note) -> None:
        self.provider = channel.provider
        self.at_once = channel.at_once
        self._channel = channel
        self._clock = clock
        self._note = note
        self._pause: AccountPause | None = None
        self._proven = False
        self._probing = False
        self._under_way = 0
        self._retired = False

    def hindrance(self) -> str | None:
        """Why nothing may be attempted just now; None when something may."""
        pause = self._pause
        if pause is None or not (self._probing or self._clock() < pause.until):
            return None
        return f"the account {self.provider} is paused until {pause.until:%H:%M:%S} UTC: {pause.error}"

    async def deliver(self, message: Message, begin: PointOfNoReturn) -> Outcome | None:
        """As the port says; while the account is paused, deferred without asking anybody."""
        hindrance = "the provider's settings have changed" if self._retired else self.hindrance()
        if hindrance is not None:
            return Deferred("account", hindrance, account_fault=True)
        probe = self._probing = self._pause is not None
        self._under_way += 1
        try:
            outcome = await self._channel.deliver(message, begin)
        finally:
            self._under_way -= 1
            self._probing = self._probing and not probe
            if self._retired:
                await self._close_if_done()
        # Of an account that has proven itself, one more mail that went out tells nothing new.
        if not (self._proven and isinstance(outcome, Delivered)):
            await self._judge(outcome, probe=probe)
        return outcome

    async def retire(self) -> None:
        """Close it as soon as what is under way has come to its end."""
        self._retired = True
        await self._close_if_done()

    async def close(self) -> None:
        await self._channel.close()

    async def _close_if_done(self) -> None:
        if not self._under_way:
            await self._channel.close()

    async def _judge(self, outcome: Outcome | None, *, probe: bool) -> None:
        match outcome:
            case Deferred(account_fault=True) if probe or self._pause is None:
                await self._begin_pause(outcome.error)
            case Delivered():
                await self._end_pause()
            case Unknown(stage=stage) | Rejected(stage=stage) if stage in _ABOUT_THE_MESSAGE:
                await self._end_pause()
            case _:
                """It tells nothing about the account."""

    async def _begin_pause(self, error: str) -> None:
        faults = self._pause.faults + 1 if self._pause else 1
        length = min(FIRST_PAUSE * 2 ** min(faults - 1, 20), LONGEST_PAUSE)
        self._pause = AccountPause(self.provider, self._clock() + length, faults, error)
        self._proven = False
        _logger.warning(
            "the account %s is paused for %.0f s after %s faults: %s",
            self.provider,
            length.total_seconds(),
            faults,
            error,
        )
        await self._tell()

    async def _end_pause(self) -> None:
        if self._proven:
            return
        if self._pause is not None:
            _logger.info("the account %s works again", self.provider)
        self._pause, self._proven = None, True
        await self._tell()

    async def _tell(self) -> None:
        try:
            await asyncio.to_thread(self._note, self._pause)
        except EventLogError as error:
            _logger.warning("nobody else learns of the account %s: %s", self.provider, error)
