"""Laws of the aggregate that hold for every history and every command."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from notification_domain import recipients
from notification_domain.notification import (
    Attempting,
    Cancel,
    Cancelled,
    Command,
    HearFeedback,
    Initial,
    Sent,
    StartTransmission,
    Waiting,
    decide,
    fold,
    is_closed,
    state_name,
)
from notification_domain.notification_events import (
    Event,
    FeedbackReceived,
    Reason,
    ResendRequested,
    Standing,
)
from notification_domain.source_events import PhoneRemoved
from tests.domain.examples import EVENTS, HISTORIES, OPEN, outcome
from tests.domain.strategies import begun, commands, events, feedback, histories, reasons, times

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
    if is_closed(state) and not isinstance(event, ResendRequested | FeedbackReceived):
        assert fold([event], state) == state


@given(begun, feedback())
def test_feedback_alone_moves_nothing(history: tuple[Event, ...], heard: FeedbackReceived) -> None:
    state = fold(history)
    after = fold([heard], state)
    assert type(after) is type(state)
    if not is_closed(state):
        progress = after.progress  # type: ignore[union-attr]  # what has begun and is open has one
        assert replace(after, progress=replace(progress, heard=())) == replace(  # type: ignore[call-arg]
            state,
            progress=replace(state.progress, heard=()),  # type: ignore[union-attr]
        )


@given(begun, feedback())
def test_what_a_provider_repeats_is_heard_once(history: tuple[Event, ...], heard: FeedbackReceived) -> None:
    state = fold(history)
    after = fold(decide(state, HearFeedback(heard)), state)
    assert decide(after, HearFeedback(heard)) == ()


@given(begun, st.lists(feedback(), max_size=6))
def test_no_feedback_moves_what_has_ended(
    history: tuple[Event, ...], reports: list[FeedbackReceived]
) -> None:
    state = fold(history)
    if not is_closed(state):
        return
    after = state
    for report in reports:
        after = fold(decide(after, HearFeedback(report)), after)
    assert state_name(after) == state_name(state)
    assert isinstance(after, Sent | Cancelled) or after == state


@given(begun, st.lists(feedback(), max_size=6), st.randoms())
def test_it_ends_alike_in_whatever_order_a_provider_reports_its_success(
    history: tuple[Event, ...], reports: list[FeedbackReceived], chance: Random
) -> None:
    good = [report for report in reports if report.standing is not Standing.FAILED]
    ends = []
    for order in (good, chance.sample(good, len(good))):
        state = fold(history)
        for report in order:
            state = fold(decide(state, HearFeedback(report)), state)
        ends.append(state_name(state))
    assert ends[0] == ends[1]


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
