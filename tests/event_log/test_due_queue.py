from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from event_log import due_queue
from event_log.due_queue import FENCE_MARGIN, NEVER, Claim, DueRow, Overtaken, Turn, due_row
from event_log.log import Log
from notification_domain.identity import stream_id
from notification_domain.notification import fold
from notification_domain.notification_events import Aftermath, OutcomeUnknown
from tests.claims import claim as claim_due
from tests.conftest import Clock
from tests.event_log.stored_examples import AT, EXAMPLES
from tests.event_log.waiting import wait_until
from tests.swept import swept_database


@pytest.fixture
def conninfo(server: str, template: str) -> str:
    return swept_database(server, template)


LEASE = timedelta(seconds=60)
SHORT = timedelta(milliseconds=50)
CODE, NOTICE, INVITATION = 0, 1, 2


def row(now: datetime, **changes: Any) -> DueRow:
    fields: dict[str, Any] = {
        "notification": uuid4(),
        "instance": "acme",
        "channel": "email",
        "priority": CODE,
        "not_before": now,
        "expires_at": now + timedelta(hours=1),
        "cause_stream": UUID(int=1),
        "cause_version": 1,
        "supersede_key": "rule",
    }
    return DueRow(**(fields | changes))


def put(log: Log, *rows: DueRow) -> None:
    with log.appending() as transaction:
        due_queue.put(transaction.cursor, rows)


def remove(log: Log, *notifications: UUID) -> None:
    with log.appending() as transaction:
        due_queue.remove(transaction.cursor, notifications)


@pytest.fixture
def claim(log: Log, clock: Clock) -> Callable[..., list[Claim]]:
    def take(
        limit: int = 100,
        lease: timedelta = LEASE,
        channels: Sequence[str] = ("email", "sms"),
        after: str = "",
    ) -> list[Claim]:
        with log.database.connection() as connection:
            return claim_due(
                connection.cursor(),
                clock(),
                limit=limit,
                lease=lease,
                channels=channels,
                turn=Turn((), after),
            )

    return take


def ids(claims: Sequence[Claim]) -> list[UUID]:
    return [claim.notification for claim in claims]


def leases(claims: Sequence[Claim]) -> list[tuple[UUID, int]]:
    return [(claim.notification, claim.token) for claim in claims]


# --- what is due --------------------------------------------------------------------------------


@pytest.mark.parity("S1.11", "S5.12")
def test_a_row_is_claimed_when_its_time_has_come(
    log: Log, clock: Clock, claim: Callable[..., list[Claim]]
) -> None:
    due, later = row(clock.now), row(clock.now + timedelta(seconds=5))
    put(log, later)
    assert claim() == []
    put(log, due)
    assert ids(claim()) == [due.notification]
    clock.move(seconds=5)
    (claimed,) = claim()
    assert (claimed.notification, claimed.instance, claimed.lost_claims) == (later.notification, "acme", 0)


def test_nothing_is_written_for_no_rows(log: Log, claim: Callable[..., list[Claim]]) -> None:
    put(log)
    remove(log)
    assert claim() == []


def test_a_removed_row_is_never_claimed(log: Log, clock: Clock, claim: Callable[..., list[Claim]]) -> None:
    due = row(clock.now)
    put(log, due)
    remove(log, due.notification)
    assert claim() == []


def test_a_parked_row_is_never_claimed(log: Log, clock: Clock, claim: Callable[..., list[Claim]]) -> None:
    put(log, row(clock.now, not_before=NEVER))
    clock.move(days=10_000)
    assert claim() == []


@pytest.mark.parity("S1.h")
def test_rows_of_a_channel_nobody_serves_wait_until_they_expire(
    log: Log, clock: Clock, claim: Callable[..., list[Claim]]
) -> None:
    put(log, row(clock.now, channel="webhook"))
    assert claim() == []
    clock.move(hours=1)
    assert len(claim()) == 1


@pytest.mark.parity("S1.11", "S5.12")
def test_the_longest_due_is_claimed_first(log: Log, clock: Clock, claim: Callable[..., list[Claim]]) -> None:
    newer, older = row(clock.now), row(clock.now - timedelta(seconds=9))
    put(log, newer, older)
    assert ids(claim(limit=1) + claim(limit=1)) == [older.notification, newer.notification]


# --- who is served ------------------------------------------------------------------------------


@pytest.mark.parity("S1.f")
def test_codes_go_before_notices_and_those_before_invitations(
    log: Log, clock: Clock, claim: Callable[..., list[Claim]]
) -> None:
    invitation = row(clock.now - timedelta(hours=1), priority=INVITATION)
    notice = row(clock.now - timedelta(minutes=1), priority=NOTICE)
    codes = [row(clock.now), row(clock.now)]
    put(log, invitation, notice, *codes)
    assert set(ids(claim(limit=2))) == {code.notification for code in codes}
    assert ids(claim(limit=1) + claim(limit=1)) == [notice.notification, invitation.notification]


@pytest.mark.parity("S1.f", "ALL-5")
def test_an_instance_does_not_wait_behind_anothers_backlog(
    log: Log, clock: Clock, claim: Callable[..., list[Claim]]
) -> None:
    long_ago = clock.now - timedelta(hours=1)
    put(log, *(row(long_ago, instance=name) for name in ("big", "huge") for _ in range(300)))
    put(log, row(clock.now, instance="small"), row(clock.now, instance="tiny"))
    served = Counter(one.instance for one in claim(limit=10))
    assert served == {"big": 3, "huge": 3, "small": 1, "tiny": 1}


def test_everybody_gets_a_turn_when_there_are_more_instances_than_one_claim_takes(
    log: Log, clock: Clock, claim: Callable[..., list[Claim]]
) -> None:
    names = [f"i{number}" for number in range(9)]
    put(log, *(row(clock.now, instance=name) for name in names for _ in range(20)))
    served: list[str] = []
    for _ in range(3):
        served += sorted(one.instance for one in claim(limit=3, after=served[-1] if served else ""))
    assert served == names


def test_the_round_begins_anew_when_it_has_come_to_its_end(
    log: Log, clock: Clock, claim: Callable[..., list[Claim]]
) -> None:
    put(log, *(row(clock.now, instance=name) for name in "abc" for _ in range(3)))
    assert [one.instance for one in claim(limit=1, after="c")] == ["a"]
    assert {one.instance for one in claim(limit=2, after="b")} == {"c", "a"}


def test_a_code_of_one_instance_goes_before_all_invitations_of_another(
    log: Log, clock: Clock, claim: Callable[..., list[Claim]]
) -> None:
    long_ago = clock.now - timedelta(hours=1)
    put(log, *(row(long_ago, instance="a", priority=INVITATION) for _ in range(50)))
    code = row(clock.now, instance="z")
    put(log, code)
    assert ids(claim(limit=1)) == [code.notification]


# --- leases -------------------------------------------------------------------------------------


@pytest.mark.parity("S1.b", "S5.3")
def test_a_leased_row_is_nobody_elses(log: Log, clock: Clock, claim: Callable[..., list[Claim]]) -> None:
    leased, free = row(clock.now), row(clock.now)
    put(log, leased)
    assert len(claim()) == 1
    put(log, free)
    assert ids(claim()) == [free.notification]
    assert claim() == []


def test_no_row_is_claimed_twice_when_many_claim_at_once(log: Log, clock: Clock) -> None:
    put(log, *(row(clock.now, instance=f"i{number % 3}") for number in range(200)))
    taken: list[UUID] = []

    def take() -> None:
        with log.database.connection() as connection:
            while claims := claim_due(connection.cursor(), clock(), limit=7):
                taken.extend(ids(claims))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken))
    # Whoever meets rows that another is claiming just now goes past them.
    with log.database.connection() as connection:
        rest = claim_due(connection.cursor(), clock(), limit=200)
    assert len(taken) + len(rest) == 200


@pytest.mark.parity("S1.11", "S5.12")
def test_a_row_under_claim_elsewhere_is_passed_over_and_not_waited_for(
    log: Log, clock: Clock, conninfo: str, claim: Callable[..., list[Claim]]
) -> None:
    first, second = row(clock.now), row(clock.now)
    put(log, first, second)
    with psycopg.connect(conninfo) as other:
        claim_due(other.cursor(), clock(), limit=1)
        (mine,) = claim()
        other.rollback()
    assert ids(claim()) == [({first.notification, second.notification} - {mine.notification}).pop()]


@pytest.mark.parity("S5.3")
def test_a_row_comes_back_when_its_lease_has_run_out_and_the_loss_is_counted(
    log: Log, clock: Clock, claim: Callable[..., list[Claim]]
) -> None:
    put(log, row(clock.now))
    (first,) = claim(lease=SHORT)
    again: list[Claim] = []

    def is_claimed() -> bool:
        again.extend(claim())
        return bool(again)

    wait_until(is_claimed)
    assert again[0].lost_claims == 1
    assert again[0].token != first.token


def test_a_lease_given_back_is_free_at_once_and_counts_as_no_loss(
    log: Log, clock: Clock, claim: Callable[..., list[Claim]]
) -> None:
    put(log, row(clock.now))
    with log.database.connection() as connection:
        due_queue.release(connection.cursor(), leases(claim()))
        due_queue.release(connection.cursor(), [])
    (again,) = claim()
    assert again.lost_claims == 0


def test_a_lease_that_another_holds_by_now_is_not_given_back(
    log: Log, clock: Clock, claim: Callable[..., list[Claim]]
) -> None:
    put(log, row(clock.now))
    (mine,) = claim()
    with log.database.connection() as connection:
        due_queue.release(connection.cursor(), [(mine.notification, mine.token - 1)])
    assert claim() == []


def test_an_outcome_that_puts_the_row_back_frees_it_and_forgets_earlier_losses(
    log: Log, clock: Clock, claim: Callable[..., list[Claim]]
) -> None:
    due = row(clock.now)
    put(log, due)
    claim()
    put(log, due)
    (again,) = claim()
    assert again.lost_claims == 0


def test_a_lease_is_extended_as_long_as_it_runs(
    log: Log, clock: Clock, conninfo: str, claim: Callable[..., list[Claim]]
) -> None:
    put(log, row(clock.now))
    mine = leases(claim(lease=timedelta(seconds=5)))
    with log.database.connection() as connection:
        assert due_queue.renew(connection.cursor(), mine, timedelta(hours=1)) == {mine[0][0]}
    with psycopg.connect(conninfo) as connection:
        found = connection.execute("SELECT lease_until > now() + interval '50 min' FROM due_notifications")
        assert found.fetchone() == (True,)


def test_leases_are_extended_without_waiting_for_rows_that_are_being_written_to(
    log: Log, clock: Clock, claim: Callable[..., list[Claim]]
) -> None:
    """Whoever waited for them here could be waited for by whoever writes to them."""
    first, second = row(clock.now), row(clock.now)
    put(log, first, second)
    mine = leases(claim())
    with log.appending() as transaction, log.database.connection() as other:
        due_queue.remove(transaction.cursor, [first.notification])
        other.execute("SET lock_timeout = 500")
        assert due_queue.renew(other.cursor(), mine, LEASE) == {second.notification}
        other.execute("RESET lock_timeout")


@pytest.mark.parametrize("lost", ["run out", "another's"])
def test_a_lost_lease_is_neither_extended_nor_held(
    log: Log, clock: Clock, claim: Callable[..., list[Claim]], lost: str
) -> None:
    put(log, row(clock.now))
    mine = leases(claim(lease=SHORT if lost == "run out" else LEASE))
    if lost == "another's":
        mine = [(mine[0][0], mine[0][1] - 1)]

    def is_lost() -> bool:
        with log.database.connection() as connection:
            return due_queue.renew(connection.cursor(), mine, SHORT / 1000) == set()

    wait_until(is_lost)
    with log.database.connection() as connection:
        held = due_queue.held(connection.cursor(), mine)
        runs = {one: standing.runs for one, standing in held.items()}
        assert runs == ({mine[0]: False} if lost == "run out" else {})


def test_a_lease_counts_as_held_while_more_than_the_margin_is_left(
    log: Log, clock: Clock, claim: Callable[..., list[Claim]]
) -> None:
    put(log, row(clock.now), row(clock.now))
    (long,) = leases(claim(limit=1))
    (short,) = leases(claim(limit=1, lease=FENCE_MARGIN - timedelta(milliseconds=1)))
    with log.database.connection() as connection:
        held = due_queue.held(connection.cursor(), [long, short])
        assert {one: standing.runs for one, standing in held.items()} == {long: True, short: False}


# --- what kills its worker ----------------------------------------------------------------------


def _lose(log: Log, notification: UUID, times: int) -> None:
    with log.database.connection() as connection:
        connection.execute(
            "UPDATE due_notifications SET claims = %s, lease_until = clock_timestamp() - interval '1 s'"
            " WHERE notification_id = %s",
            (times, notification),
        )


def test_a_row_that_lost_two_claims_is_taken_alone(
    log: Log, clock: Clock, claim: Callable[..., list[Claim]]
) -> None:
    poison = row(clock.now - timedelta(minutes=1))
    innocent = [row(clock.now) for _ in range(3)]
    put(log, poison, *innocent)
    _lose(log, poison.notification, 2)
    (alone,) = claim()
    assert (alone.notification, alone.lost_claims) == (poison.notification, 2)
    assert set(ids(claim())) == {one.notification for one in innocent}


def test_a_row_that_lost_two_claims_does_not_go_with_those_before_it(
    log: Log, clock: Clock, claim: Callable[..., list[Claim]]
) -> None:
    poison, earlier = row(clock.now), row(clock.now - timedelta(minutes=1))
    put(log, poison, earlier)
    _lose(log, poison.notification, 2)
    assert ids(claim()) == [earlier.notification]
    assert ids(claim()) == [poison.notification]


def test_a_row_that_lost_one_claim_goes_with_the_others(
    log: Log, clock: Clock, claim: Callable[..., list[Claim]]
) -> None:
    unlucky, other = row(clock.now), row(clock.now)
    put(log, unlucky, other)
    _lose(log, unlucky.notification, 1)
    assert {(one.notification, one.lost_claims) for one in claim()} == {
        (unlucky.notification, 1),
        (other.notification, 0),
    }


def test_a_row_that_is_claimed_for_ever_does_not_stop_the_others(
    log: Log, clock: Clock, claim: Callable[..., list[Claim]]
) -> None:
    unreadable, other = row(clock.now - timedelta(minutes=1)), row(clock.now)
    put(log, unreadable, other)
    _lose(log, unreadable.notification, 32_767)
    assert ids(claim()) == [unreadable.notification]
    assert ids(claim()) == [other.notification]


# --- what was overtaken -------------------------------------------------------------------------

USER = stream_id("acme", "user/42")


def _pull(log: Log, **changes: Any) -> None:
    fields: dict[str, Any] = {"stream": USER, "version": 5, "supersede_key": "rule"}
    with log.appending() as transaction:
        due_queue.pull_forward(transaction.cursor, [Overtaken(**(fields | changes))])


def test_a_waiting_row_becomes_due_when_it_is_overtaken(
    log: Log, clock: Clock, claim: Callable[..., list[Claim]]
) -> None:
    put(log, row(clock.now + timedelta(minutes=30), cause_stream=USER))
    _pull(log, recorded_at=clock.now)
    assert len(claim()) == 1


def test_an_empty_key_overtakes_everything_older_of_its_stream(
    log: Log, clock: Clock, claim: Callable[..., list[Claim]]
) -> None:
    later = clock.now + timedelta(minutes=30)
    put(log, *(row(later, cause_stream=USER, supersede_key=key) for key in ("one", "two")))
    _pull(log, supersede_key="", recorded_at=clock.now)
    assert len(claim()) == 2


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"cause_version": 5},
        {"cause_version": 6},
        {"cause_stream": UUID(int=9)},
        {"supersede_key": "other rule"},
        {"not_before": NEVER},
    ],
    ids=["itself", "newer", "another stream", "another key", "parked"],
)
def test_a_row_stays_where_it_is_when_the_event_does_not_bear_on_it(
    log: Log, clock: Clock, claim: Callable[..., list[Claim]], elsewhere: dict[str, Any]
) -> None:
    changes = {"not_before": clock.now + timedelta(minutes=30), "cause_stream": USER} | elsewhere
    put(log, row(clock.now, **changes))
    _pull(log, recorded_at=clock.now)
    assert claim() == []


def test_nothing_happens_when_nothing_was_overtaken(log: Log) -> None:
    with log.appending() as transaction:
        due_queue.pull_forward(transaction.cursor, [])


# --- figures ------------------------------------------------------------------------------------


def test_depth_counts_what_is_open_and_tells_how_long_the_oldest_is_overdue(log: Log, clock: Clock) -> None:
    put(log, row(clock.now - timedelta(seconds=90)), row(clock.now), row(clock.now, not_before=NEVER))
    with log.database.connection() as connection:
        depth, overdue = due_queue.depth(connection.cursor(), clock())
    assert (depth, round(overdue)) == (2, 90)


def test_the_depth_of_an_empty_queue_is_nothing(log: Log, clock: Clock) -> None:
    with log.database.connection() as connection:
        assert due_queue.depth(connection.cursor(), clock()) == (0, 0.0)
        assert due_queue.next_due(connection.cursor()) is None


def test_the_next_due_time_is_that_of_a_row_nobody_holds(
    log: Log, clock: Clock, claim: Callable[..., list[Claim]]
) -> None:
    later = clock.now + timedelta(minutes=3)
    put(log, row(clock.now), row(later))
    claim()
    with log.database.connection() as connection:
        assert due_queue.next_due(connection.cursor()) == later


# --- the projection -----------------------------------------------------------------------------

_STORY = [
    EXAMPLES["notification.requested"],
    EXAMPLES["notification.attempt.started"],
    EXAMPLES["notification.transmission.started"],
    OutcomeUnknown(attempt=1, error="lost", stage="dot", aftermath=Aftermath.PARK, not_before=AT),
    EXAMPLES["notification.resend.requested"],
    EXAMPLES["notification.sent"],
]


@pytest.mark.parity("S1.11")
def test_a_notification_has_a_row_as_long_as_it_is_open() -> None:
    states = [fold(_STORY[: length + 1]) for length in range(len(_STORY))]
    rows = [due_row(UUID(int=1), "acme", state) for state in states]
    assert [one and one.not_before for one in rows] == [AT, AT, AT, NEVER, AT, None]


def test_a_declined_one_never_has_a_row() -> None:
    assert due_row(UUID(int=1), "acme", fold([EXAMPLES["notification.declined"]])) is None


def test_a_row_tells_what_the_request_says() -> None:
    request = EXAMPLES["notification.requested"]
    assert due_row(UUID(int=1), "acme", fold([request])) == DueRow(
        notification=UUID(int=1),
        instance="acme",
        channel="email",
        priority=0,
        not_before=AT,
        expires_at=AT + timedelta(hours=1),
        cause_stream=USER,
        cause_version=7,
        supersede_key="user.human.email.code.added",
    )
