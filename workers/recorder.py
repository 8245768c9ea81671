"""The worker's one lane to the log: steps gather while a commit runs, and no result is ever dropped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from msgspec.structs import replace

from event_log.errors import LogUnavailable, LostRace, Overloaded, Undecodable
from event_log.group_commit import GroupCommit
from event_log.log import Log
from workers.gathering import Gathering
from workers.loading import reload
from workers.recording import Answer, Refused, Step, advance

_logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0


class Recorder:
    """Applies steps, many in one commit, and tries again for as long as the database is away."""

    def __init__(
        self,
        log: Log,
        *,
        chance: Callable[[], float],
        clock: Callable[[], datetime],
        most: int = 500,
        gather: float = 0.0,
    ) -> None:
        self._log = log
        self._chance = chance
        self._group: GroupCommit[Step, Answer] = GroupCommit(
            lambda steps: advance(log, steps, clock), name="recorder", max_waiting=100_000, max_weight=most
        )
        self._gathering = Gathering(gather, most)

    async def record(self, step: Step) -> Answer:
        """As ``apply``, for results, which may gather for a while."""
        await self._gathering.join()
        return await self.apply(step)

    def hurry(self) -> None:
        """Results gather no longer."""
        self._gathering.close()

    async def apply(self, step: Step) -> Answer:
        """The answer comes after the commit; what is in doubt is looked up, never repeated blindly."""
        pause = _FIRST_PAUSE
        while True:
            try:
                answer = await self._group.commit(step)
                return await self._second_look(step, answer) if isinstance(answer, Refused) else answer
            except (LogUnavailable, LostRace, Overloaded) as error:
                _logger.warning("a result waits for the log: %s", error)
                await asyncio.sleep(pause * (0.5 + self._chance()))
                pause = min(pause * 2, _LONGEST_PAUSE)
                with suppress(LogUnavailable):
                    step = await self._refreshed(step)

    async def _refreshed(self, step: Step) -> Step:
        """As the log has it now; raises LogUnavailable while nobody can say."""
        try:
            held = await asyncio.to_thread(reload, self._log, step.held)
        except Undecodable:
            # Newer code has gone on with it: what is refused stays refused.
            return step
        return replace(step, subject=replace(step.subject, held=held))

    async def _second_look(self, step: Step, refused: Refused) -> Answer:
        """What was refused may be our own earlier, doubtful commit: then the stream shows our lease."""
        fresh = await self._refreshed(step)
        mine = fresh.held.progress.lease_token == step.held.token
        if not mine or fresh.held.version == step.held.version:
            return refused
        return await self.apply(fresh)

    def close(self) -> None:
        self._group.close()
