"""docs/lifecycle.md and its picture say what decide does, row for row."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import TypeAlias, get_args

import pytest
from hypothesis import given
from msgspec.structs import replace

from event_log.topics import OURS, TOPICS
from notification_domain.notification import (
    Cancel,
    Command,
    HearFeedback,
    RecordOutcome,
    Resolve,
    StartTransmission,
    State,
    decide,
    fold,
    is_closed,
    state_name,
)
from notification_domain.notification_events import (
    Event,
    NotificationCancelled,
    NotificationRequested,
    OutcomeUnknown,
    Reason,
)
from tests.domain.examples import HISTORIES, REQUESTS, VARIANTS, WITH_FEEDBACK
from tests.domain.strategies import begun, commands, histories

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "lifecycle.md").read_text(encoding="utf-8")
PICTURE = (DOCS / "lifecycle.svg").read_text(encoding="utf-8")

Transition: TypeAlias = tuple[str, str, tuple[str, ...], str]
"""In state, command, events, then."""


def table(heading: str) -> list[list[str]]:
    """The rows of a section's table, without its head."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def names(cell: str) -> tuple[str, ...]:
    return tuple(re.findall(r"`([^`]+)`", cell))


def name(cell: str) -> str:
    (only,) = names(cell)
    return only


WRITTEN: list[Transition] = [
    (name(state), name(command), names(events), name(then))
    for state, command, _, events, then in table("Transitions")
]


def command_label(command: Command) -> str:
    match command:
        case RecordOutcome(outcome=outcome):
            return f"RecordOutcome: {type(outcome).__name__}"
        case Resolve(outcome=said):
            return f"Resolve: {said}"
        case HearFeedback(feedback):
            return f"HearFeedback: {feedback.standing}"
        case _:
            return type(command).__name__


def given_reason(command: Command) -> Reason | None:
    match command:
        case Cancel(reason):
            return reason
        case StartTransmission(obstacle=obstacle):
            return obstacle
        case _:
            return None


def event_label(event: Event, command: Command) -> str:
    match event:
        case NotificationCancelled(reason=reason):
            return f"NotificationCancelled ({'given' if given_reason(command) else reason})"
        case OutcomeUnknown(aftermath=aftermath):
            return f"OutcomeUnknown ({aftermath})"
        case _:
            return type(event).__name__


def transition(state: State, command: Command) -> Transition | None:
    events = decide(state, command)
    if not events:
        return None
    then = fold(events, state)
    labels = tuple(event_label(event, command) for event in events)
    return type(state).__name__, command_label(command), labels, type(then).__name__


def states_of_every_kind() -> list[State]:
    """Each state for each kind of message."""
    return [
        fold([replace(request, expires_at=first.expires_at), *rest])
        if isinstance(first, NotificationRequested)
        else fold([first, *rest])
        for request, (first, *rest) in product(REQUESTS, filter(None, (*HISTORIES.values(), *WITH_FEEDBACK)))
    ] + [fold([])]


def test_the_table_holds_exactly_what_decide_does() -> None:
    found = {transition(state, command) for state, command in product(states_of_every_kind(), VARIANTS)}
    assert set(WRITTEN) == found - {None}


def test_no_row_stands_twice() -> None:
    assert len(WRITTEN) == len(set(WRITTEN))


@given(begun | histories, commands)
def test_whatever_happens_stands_in_the_table(history: tuple[Event, ...], command: Command) -> None:
    found = transition(fold(history), command)
    assert found is None or found in WRITTEN


EMPTY_CELLS = [
    (state, command)
    for state, command in product(get_args(State), get_args(Command))
    if not any(row[0] == state.__name__ and row[1].partition(":")[0] == command.__name__ for row in WRITTEN)
]


def test_most_cells_are_empty() -> None:
    assert len(EMPTY_CELLS) == len(get_args(State)) * len(get_args(Command)) - 24


@pytest.mark.parametrize(
    ("kind", "asked"), EMPTY_CELLS, ids=[f"{kind.__name__}-{asked.__name__}" for kind, asked in EMPTY_CELLS]
)
def test_a_command_does_nothing_in_a_state_where_the_table_has_no_row(
    kind: type[State], asked: type[Command]
) -> None:
    states = [state for state in states_of_every_kind() if type(state) is kind]
    orders = [command for command in VARIANTS if type(command) is asked]
    assert states
    assert orders
    assert [decide(state, command) for state, command in product(states, orders)] == [()] * (
        len(states) * len(orders)
    )


def test_every_state_is_explained_as_open_or_closed() -> None:
    written = {name(state): standing for state, standing, _ in table("States")}
    closed = {True: "closed", False: "open"}
    found = {kind.__name__: closed[is_closed(fold(history))] for kind, history in HISTORIES.items()}
    assert written == found | {"Initial": "neither"}


def test_every_event_stands_under_its_topic() -> None:
    written = {name(topic): name(event) for topic, event, *_ in table("Events")}
    assert written == {topic.name: topic.fact.__name__ for topic in TOPICS if topic.name.startswith(OURS)}
    assert set(written.values()) == {event.__name__ for event in get_args(Event)}


def test_every_command_is_explained() -> None:
    assert [name(row[0]) for row in table("Commands")] == [command.__name__ for command in get_args(Command)]


def test_every_reason_is_explained() -> None:
    assert [name(row[0]) for row in table("Reasons")] == list(Reason)


def test_the_picture_shows_every_state_and_every_event() -> None:
    shown = re.sub(r"\s+", " ", " ".join(re.findall(r">([^<>]+)</text>", PICTURE))).replace(" .", ".")
    for history in HISTORIES.values():
        assert state_name(fold(history)) in shown
    for row in table("Events"):
        assert name(row[0]).removeprefix(OURS) in shown
