"""How far one delivery has come, and when it came there."""

from __future__ import annotations

import asyncio
from enum import Enum, auto


class Stage(Enum):
    """How far one delivery has come."""

    WAITING = auto()
    """For its turn on the channel."""
    DISPATCHING = auto()
    ASKING = auto()
    """Whether it may pass the point of no return."""
    TRANSMITTING = auto()
    ANSWERED = auto()
    """Its result waits to be recorded."""


class Staged:
    """Begins to wait for its turn when it is made, inside the running loop."""

    def __init__(self) -> None:
        self._reached: dict[Stage, float] = {}
        self.stage = Stage.WAITING

    @property
    def stage(self) -> Stage:
        return self._stage

    @stage.setter
    def stage(self, stage: Stage) -> None:
        self._stage = stage
        self._reached[stage] = asyncio.get_running_loop().time()

    def seconds_on_the_channel(self) -> float | None:
        """From its turn to the answer; None while there is none."""
        turn, answer = self._reached.get(Stage.DISPATCHING), self._reached.get(Stage.ANSWERED)
        return None if turn is None or answer is None else answer - turn
