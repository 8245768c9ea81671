"""Laws of the aggregate that hold for every history and every command."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notification_domain import recipients
from notification_domain.notification import (
    Attempting,
    Cancel,
    Cancelled,
    Command,
    Initial,
    Sent,
    StartTransmission,
    Waiting,
    decide,
    fold,
    is_closed,
    state_name,
)
from notification_domain.notification_events import Event, Reason, ResendRequested
from notification_domain.source_events import PhoneRemoved
from tests.domain.examples import EVENTS, HISTORIES, OPEN, outcome
from tests.domain.strategies import begun, commands, events, histories, reasons, times

NONSENSE: Any = "nonsense"


@given(histories | begun)
def test_fold_gives_a_state_whatever_happened(history: tuple[Event, ...]) -> None:
    assert state_name(fold(history)) in {kind.__name__.lower() for kind in HISTORIES}


@given(histories | begun, commands)
def test_decide_gives_events_that_can_be_folded_whatever_the_state_and_the_command(
    history: tuple[Event, ...], command: Command
) -> None:
    state = fold(history)
    fold(decide(state, command), state)


@given(begun, st.integers(0, 13))
def test_folding_in_two_parts_is_folding_all(history: tuple[Event, ...], cut: int) -> None:
    assert fold(history[cut:], fold(history[:cut])) == fold(history)


@given(begun, reasons, times)
def test_a_cancellation_wins_until_transmission_begins(
    history: tuple[Event, ...], reason: Reason, at: datetime
) -> None:
    state = fold(history)
    if not isinstance(state, Waiting | Attempting):
        return
    cancelled = fold(decide(state, Cancel(reason)), state)
    assert isinstance(cancelled, Cancelled)
    assert decide(cancelled, StartTransmission(at)) == ()


@given(begun, events)
def test_an_ending_stands_until_somebody_asks_again(history: tuple[Event, ...], event: Event) -> None:
    state = fold(history)
    if is_closed(state) and not isinstance(event, ResendRequested):
        assert fold([event], state) == state


@given(begun, commands)
def test_a_command_that_is_given_twice_ends_it_once(history: tuple[Event, ...], command: Command) -> None:
    state = fold(history)
    after = fold(decide(state, command), state)
    if isinstance(after, Sent | Cancelled) and after != state:
        assert decide(after, command) == ()


@given(events)
def test_an_event_is_read_back_as_it_was_written(event: Event) -> None:
    assert msgspec.json.decode(msgspec.json.encode(event), type=type(event)) == event


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_example_is_read_back_as_it_was_written(event: Event) -> None:
    assert msgspec.json.decode(msgspec.json.encode(event), type=type(event)) == event


def test_nothing_is_the_state_before_anything_happened() -> None:
    assert fold(()) == Initial()


@pytest.mark.parametrize(
    "ask",
    [
        lambda: decide(NONSENSE, OPEN),
        lambda: decide(fold(HISTORIES[Attempting]), outcome(NONSENSE)),
        lambda: fold([NONSENSE], fold(HISTORIES[Waiting])),
        lambda: recipients.evolve(NONSENSE, PhoneRemoved()),
    ],
    ids=["state", "outcome", "event", "subject"],
)
def test_what_no_type_allows_is_refused_aloud(ask: Callable[[], object]) -> None:
    with pytest.raises(AssertionError, match="unreachable"):
        ask()
