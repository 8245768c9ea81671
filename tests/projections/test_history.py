from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import combinations
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_log.envelope import RecordedEvent
from event_log.log import Log, read_after, read_stream
from notification_domain import notification
from notification_domain.notification import is_closed, state_name
from notification_domain.notification_events import (
    Aftermath,
    AttemptStarted,
    Event,
    NotificationCancelled,
    NotificationSent,
    OutcomeUnknown,
    Reason,
    ResendRequested,
    RetryRequested,
    TransmissionStarted,
)
from projections.following import trailing_round
from projections.history import (
    STATES,
    Filters,
    History,
    Notification,
    content_hash,
    fold,
    list_notifications,
    progress,
)
from tests.projections.histories import (
    ADA,
    AT,
    PARKED,
    REJECTED,
    RESENT,
    RETRIED,
    SENT,
    declined,
    requested,
    stream,
    write,
)

HISTORIES: dict[str, tuple[Event, ...]] = {
    "waiting": (),
    "attempting": (AttemptStarted(1, 5, "smtp"),),
    "transmitting": (AttemptStarted(1, 5, "smtp"), TransmissionStarted(1)),
    "parked": PARKED,
    "sent": SENT,
    "cancelled": REJECTED,
}


def recorded(facts: Sequence[Event]) -> list[RecordedEvent]:
    return [
        RecordedEvent(
            10 + index, "acme", stream(1), 1 + index, "a topic", AT + timedelta(seconds=index), fact
        )
        for index, fact in enumerate(facts)
    ]


def listed(log: Log, *, before: int | None = None, limit: int = 100, **filters: Any) -> list[Notification]:
    with log.database.connection() as connection:
        return list_notifications(connection, "acme", Filters(**filters), before, limit)


def follow(log: Log) -> None:
    while trailing_round(log, History()):
        pass


@pytest.mark.parametrize("state", HISTORIES)
def test_a_row_tells_the_state_its_stream_leads_to(state: str) -> None:
    row = fold(recorded([requested(), *HISTORIES[state]]))
    assert row is not None
    assert (row.state, row.position, row.requested_at) == (state, 10, AT)
    assert (row.closed_at is not None) == (state in ("sent", "cancelled"))


def test_a_decline_is_closed_with_its_reason_at_once() -> None:
    row = fold(recorded([declined()]))
    assert row is not None
    assert (row.state, row.reason, row.closed_at, row.attempts) == ("declined", "code_returned", AT, 0)


def test_a_resend_opens_the_row_again() -> None:
    row = fold(recorded([requested(), *RESENT]))
    assert row is not None
    assert (row.state, row.reason, row.closed_at, row.attempts) == ("attempting", None, None, 1)


STEPS: st.SearchStrategy[Event] = st.one_of(
    st.builds(AttemptStarted, st.integers(1, 3), st.just(1), st.just("smtp")),
    st.builds(TransmissionStarted, st.integers(1, 3)),
    st.builds(
        RetryRequested,
        attempt=st.just(1),
        error=st.just(""),
        stage=st.just("rcpt"),
        recipient=st.just(ADA),
        backoff=st.just(1.0),
        not_before=st.just(AT),
        counts=st.booleans(),
    ),
    st.builds(
        OutcomeUnknown,
        attempt=st.just(1),
        error=st.just(""),
        stage=st.just("dot"),
        aftermath=st.sampled_from(Aftermath),
        not_before=st.just(AT),
    ),
    st.builds(NotificationSent, attempt=st.just(1), provider=st.just("smtp")),
    st.builds(NotificationCancelled, reason=st.sampled_from(Reason), stage=st.sampled_from(["", "rcpt"])),
    st.builds(ResendRequested, reason=st.just(""), not_before=st.just(AT), expires_at=st.just(AT)),
)


@given(st.lists(STEPS, max_size=12))
def test_a_row_agrees_with_the_aggregate_whatever_happened(steps: list[Event]) -> None:
    facts: list[Event] = [requested(), *steps]
    state = notification.fold(facts)
    assert not isinstance(state, notification.Initial | notification.Declined)
    row = fold(recorded(facts))
    assert row is not None
    assert (row.state, row.attempts) == (state_name(state), state.progress.total_spent)
    assert (row.closed_at is not None) == is_closed(state)


@given(st.lists(STEPS, max_size=8), st.integers(0, 9))
def test_an_event_seen_before_changes_nothing(steps: list[Event], at: int) -> None:
    events = recorded([requested(), *steps])
    assert fold([*events, *events[at:]]) == fold(events)


def test_the_table_agrees_with_the_streams_however_the_log_is_cut_into_batches(log: Log) -> None:
    for number, facts in enumerate((SENT, RETRIED, PARKED, REJECTED, RESENT)):
        write(log, number, [requested(number)])
        write(log, number, facts, version=2)
    write(log, 9, [declined(9)])
    while trailing_round(log, History(), batch=3):
        pass
    rows = listed(log)
    assert [row.user_id for row in rows] == ["9", "4", "3", "2", "1", "0"]
    assert rows == [fold(read_stream(log, row.id)) for row in rows]
    with log.database.connection() as connection:
        assert progress(connection).lag_ms == 0


def test_progress_tells_how_far_behind_the_history_is(log: Log) -> None:
    with log.database.connection() as connection:
        assert (progress(connection).position, progress(connection).lag_ms) == (0, 0)
        (first,) = write(log, 1, [requested()])
        follow(log)
        write(log, 2, [requested(2)])
        reached = progress(connection)
        assert reached.position == first
        assert 0 <= reached.lag_ms < 10_000


def test_applying_a_batch_again_changes_nothing(log: Log) -> None:
    write(log, 1, [requested(), *SENT])
    write(log, 2, [requested(2), *RETRIED])
    with log.database.connection() as connection:
        events = read_after(log, connection.cursor(), 0, 100, ours=True, callers=False).events
        History().apply(connection, events)
        before = content_hash(connection)
        History().apply(connection, events)
        History().apply(connection, events[:3])
        assert content_hash(connection) == before


def test_another_table_filled_from_the_log_has_the_same_hash(log: Log, conninfo: str) -> None:
    write(log, 1, [requested(), *SENT])
    write(log, 2, [declined(2)])
    follow(log)
    with psycopg.connect(conninfo, autocommit=True) as owner:
        owner.execute("CREATE TABLE notifications_anew (LIKE notifications INCLUDING ALL)")
        with log.database.connection() as connection:
            events = read_after(log, connection.cursor(), 0, 100, ours=True, callers=False).events
        History("notifications_anew").apply(owner, events[:2])
        assert content_hash(owner, "notifications_anew") != content_hash(owner)
        History("notifications_anew").apply(owner, events[2:])
        assert content_hash(owner, "notifications_anew") == content_hash(owner)


def test_filters_are_alternatives_within_a_field_and_add_up_between_fields(log: Log) -> None:
    write(log, 1, [requested(1), *SENT])
    write(log, 2, [requested(2, channel="sms", message_type="VerifyPhone", organisation_id="o-1")])
    write(log, 3, [declined(3, Reason.POLICY_OFF)])
    write(log, 4, [requested(4), *REJECTED])
    write(log, 1, [requested(1)], instance="other")
    follow(log)

    def found(**filters: Any) -> list[str]:
        return [row.user_id for row in listed(log, **filters)]

    assert found() == ["4", "3", "2", "1"]
    assert found(user_id=("1", "3")) == ["3", "1"]
    assert found(state=("sent", "waiting")) == ["2", "1"]
    assert found(state=("sent",), user_id=("2",)) == []
    assert found(reason=("policy_off", "rejected")) == ["4", "3"]
    assert found(channel=("sms",)) == ["2"]
    assert found(message_type=("VerifyPhone",)) == ["2"]
    assert found(organisation_id=("o-1",)) == ["2"]
    assert found(event_id=("event-2", "event-4")) == ["4", "2"]


def test_since_takes_in_its_moment_and_until_leaves_it_out(log: Log) -> None:
    write(log, 1, [requested(1)])
    write(log, 2, [requested(2)])
    follow(log)
    newer, older = listed(log)
    assert listed(log, since=newer.requested_at) == [newer]
    assert listed(log, until=newer.requested_at) == [older]
    assert listed(log, since=older.requested_at, until=newer.requested_at) == [older]


def test_a_time_finds_its_place_among_any_number_of_decisions(log: Log, conninfo: str) -> None:
    for number in range(1, 10):
        write(log, number, [requested(number)])
        write(log, number, [requested(number)], instance="other")
    follow(log)
    with psycopg.connect(conninfo, autocommit=True) as owner:  # what one batch decides has one time
        owner.execute("UPDATE notifications SET requested_at = '2026-01-01'::date + position::int / 6")
    rows = listed(log)
    moments = sorted({row.requested_at for row in rows})
    for moment in [moments[0] - timedelta(1), *moments, moments[-1] + timedelta(1)]:
        assert listed(log, since=moment) == [row for row in rows if row.requested_at >= moment]
        assert listed(log, until=moment) == [row for row in rows if row.requested_at < moment]


def test_an_empty_history_has_no_time(log: Log) -> None:
    assert listed(log, since=AT, until=AT) == []


@pytest.mark.parametrize("wanted", [states for n in (1, 2, 7) for states in combinations(STATES, n)])
def test_states_find_their_rows_by_whatever_index(log: Log, wanted: tuple[str, ...]) -> None:
    for number, state in enumerate(STATES):
        decided = declined(number) if state == "declined" else requested(number)
        write(log, number, [decided, *HISTORIES.get(state, ())])
    follow(log)
    assert {row.state for row in listed(log, state=wanted)} == set(wanted)


def test_pages_put_together_are_the_whole_list(log: Log) -> None:
    for number in range(7):
        write(log, number, [requested(number)])
    follow(log)
    everything = listed(log)
    pages: list[Notification] = []
    before = None
    while page := listed(log, before=before, limit=3):
        pages += page
        before = page[-1].position
    assert pages == everything
    assert len(everything) == 7
