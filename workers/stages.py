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
    """Begins by waiting for its turn; moves on inside the running loop."""

    def __init__(self) -> None:
        self._stage = Stage.WAITING
        self._turn: float | None = None
        self._answer: float | None = None

    @property
    def stage(self) -> Stage:
        return self._stage

    @stage.setter
    def stage(self, stage: Stage) -> None:
        self._stage = stage
        if stage is Stage.DISPATCHING:
            self._turn = asyncio.get_running_loop().time()
        elif stage is Stage.ANSWERED:
            self._answer = asyncio.get_running_loop().time()

    def seconds_on_the_channel(self) -> float | None:
        """From its turn to the answer; None while there is none."""
        return None if self._turn is None or self._answer is None else self._answer - self._turn
