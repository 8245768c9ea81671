"""Faults on request: which stage of which channel misbehaves, how, and how often."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias, get_args

import msgspec

FaultyChannel: TypeAlias = Literal["email", "sms", "webhook"]
Action: TypeAlias = Literal["refuse", "delay", "disconnect", "hang", "garbage"]

CHANNELS: tuple[FaultyChannel, ...] = get_args(FaultyChannel)
ACTIONS: tuple[Action, ...] = get_args(Action)
STAGES: Mapping[FaultyChannel, tuple[str, ...]] = {
    "email": ("connect", "banner", "ehlo", "auth", "mail", "rcpt", "data", "body", "dot"),
    "sms": ("request", "reply"),
    "webhook": ("request", "reply"),
}
STAGES_WITH_RECIPIENT = frozenset({"rcpt", "data", "body", "dot", "request", "reply"})


class Fault(msgspec.Struct, frozen=True):
    """One wish to misbehave.

    ``code`` is an SMTP or HTTP status, ``error_code`` a Twilio one; ``seconds`` bounds a delay or a hang
    (a hang without it lasts until the client leaves); ``count`` is how often it still happens, None for
    ever. ``accepted`` says whether the message is taken all the same when ``dot`` or ``reply`` fails; a
    mail that is refused at the dot never is.
    """

    id: int
    channel: FaultyChannel
    stage: str
    action: Action
    code: int
    seconds: float | None = None
    count: int | None = 1
    to: str | None = None
    accepted: bool = True
    error_code: int | None = None
    retry_after: int | None = None

    @property
    def loses_message(self) -> bool:
        return self.action != "delay" and not self.accepted

    def meets(self, channel: FaultyChannel, stage: str, recipients: Iterable[str]) -> bool:
        return self.channel == channel and self.stage == stage and self._is_for(recipients)

    def _is_for(self, recipients: Iterable[str]) -> bool:
        wanted = self.to
        return wanted is None or any(one.casefold() == wanted.casefold() for one in recipients)


class FaultBook:
    """The faults that are set, oldest first; one fault at most is spent on each passage of a stage."""

    def __init__(self) -> None:
        self._faults: dict[int, Fault] = {}

    def add(self, fault: Fault) -> None:
        self._faults[fault.id] = fault

    def take(self, channel: FaultyChannel, stage: str, recipients: Iterable[str] = ()) -> Fault | None:
        for fault in self._faults.values():
            if fault.meets(channel, stage, recipients):
                self._spend(fault)
                return fault
        return None

    def remove(self, fault_id: int) -> bool:
        return self._faults.pop(fault_id, None) is not None

    def clear(self) -> None:
        self._faults.clear()

    def all(self) -> list[Fault]:
        return list(self._faults.values())

    def _spend(self, fault: Fault) -> None:
        if fault.count is None:
            return
        if fault.count == 1:
            del self._faults[fault.id]
        else:
            self._faults[fault.id] = msgspec.structs.replace(fault, count=fault.count - 1)
