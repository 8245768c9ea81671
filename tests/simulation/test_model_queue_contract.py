"""The model of the due queue does what PostgreSQL does: the same moves on both, compared after each."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from benchmarks.simulated.moves import LEASE, LOST, MOVES, Queue, all_moves, all_moves_in_order, at, row
from event_log import due_queue
from event_log.due_queue import BOTH, Overtaken, Turn
from tests.simulation.conftest import Place, model_place


def queue_of(place: Place) -> Queue:
    return Queue(place.log, modelled=place.name == "model")


@pytest.fixture
def queue(place: Place) -> Queue:
    return queue_of(place)


# --- one thing at a time --------------------------------------------------------------------------


def test_what_is_due_is_claimed_once(queue: Queue) -> None:
    queue.put(row(1), row(2, 5), row(3, 20))
    assert queue.claim(10) == [(1, 0), (2, 0)]
    assert queue.claim(10) == []


def test_codes_go_first_and_instances_take_turns(queue: Queue) -> None:
    queue.put(row(1, priority=2), *(row(n, n) for n in (10, 11, 12)), row(20, 30, instance="beta"))
    assert queue.claim(60, limit=2) == [(10, 0), (20, 0)]
    assert queue.claim(60, limit=2) == [(11, 0), (12, 0)]
    assert queue.claim(60, limit=2) == [(1, 0)]


def test_the_round_goes_on_behind_the_last_instance(queue: Queue) -> None:
    queue.put(row(1), row(2, instance="beta"), row(3, instance="gamma"))
    assert queue.claim(1, limit=1, turn=Turn(after="acme")) == [(2, 0)]
    assert queue.claim(1, limit=1, turn=Turn(recent=("gamma",), after="beta")) == [(1, 0)]


@pytest.mark.parametrize("in_order", [False, True])
def test_what_is_left_alone_is_passed_over(queue: Queue, in_order: bool) -> None:
    queue.put(row(1), row(2, 1), row(3, 2, instance="beta"))
    queue.decide(1, 2, 3)
    asked = {"in_order": in_order, "left_alone": [UUID(int=1), UUID(int=3)]}
    assert queue.claim(5, **asked) == [(2, 0)]
    assert queue.claim(5, in_order=False) == [(1, 0), (3, 0)]


@pytest.mark.parametrize("in_order", [False, True])
def test_what_expired_on_a_channel_of_others_is_left_alone_too(queue: Queue, in_order: bool) -> None:
    queue.put(row(1))
    late = 60 * 24 * 365
    assert queue.claim(late, channels=[], left_alone=[UUID(int=1)], in_order=in_order) == []
    assert queue.claim(late, channels=[], in_order=in_order) == [(1, 0)]


def test_what_is_given_back_for_a_rest_is_claimed_by_nobody_meanwhile(queue: Queue) -> None:
    queue.put(row(1), row(2))
    queue.claim(1)
    queue.release(1, rest=LEASE)
    queue.release(2, rest=LOST)
    assert queue.claim(1) == [(2, 0)]
    assert queue.held(1) == {}


def test_what_the_others_leave_goes_to_who_has_more(queue: Queue) -> None:
    queue.put(*(row(n, n) for n in range(1, 6)), row(20, instance="beta"), row(30, instance="gamma"))
    assert queue.claim(60, limit=4) == [(1, 0), (2, 0), (20, 0), (30, 0)]
    assert queue.claim(60, limit=4) == [(3, 0), (4, 0), (5, 0)]


def test_who_has_no_turn_in_a_claim_has_one_in_the_next(queue: Queue) -> None:
    names = [f"instance-{n}" for n in range(1, 6)]
    queue.put(*(row(n, priority=2, instance=name) for n, name in enumerate(names, 1)))
    queue.put(row(50, instance="instance-5", retry=True))
    assert queue.claim(1, limit=3) == [(1, 0), (2, 0), (50, 0)]
    assert queue.claim(1, limit=3, turn=Turn(recent=("instance-1", "instance-2"))) == [(3, 0), (4, 0), (5, 0)]


def test_who_has_nothing_to_claim_takes_nobodys_turn(queue: Queue) -> None:
    queue.put(row(1, retry=True), row(2, 9, expires_at=at(1)), row(3, instance="beta"))
    assert queue.claim(2, limit=1, retries=(False,)) == [(3, 0)]
    queue.put(row(4, instance="beta"))
    assert queue.claim(2, limit=1) == [(1, 0)]
    assert queue.claim(2, limit=1) == [(4, 0)]


def test_who_has_only_what_is_leased_takes_no_turn_of_what_expired(queue: Queue) -> None:
    queue.put(*(row(n, channel="push", expires_at=at(1), instance=f"instance-{n}") for n in (1, 2)))
    assert queue.claim(2, limit=1) == [(1, 0)]
    assert queue.claim(2, limit=1) == [(2, 0)]


def test_who_has_only_what_is_left_alone_takes_no_turn(queue: Queue) -> None:
    expired = {"channel": "push", "expires_at": at(1)}
    queue.put(row(1), row(2, instance="beta"), row(3, priority=1, **expired))
    queue.put(row(4, priority=1, instance="beta", **expired))
    assert queue.claim(2, limit=1, left_alone=[UUID(int=1)]) == [(2, 0)]
    assert queue.claim(2, limit=1, left_alone=[UUID(int=1), UUID(int=3)]) == [(4, 0)]


def test_first_attempts_and_retries_are_claimed_apart(queue: Queue) -> None:
    queue.put(row(1), row(2, retry=True))
    assert queue.claim(1, retries=(True,)) == [(2, 0)]
    assert queue.claim(1, retries=BOTH) == [(1, 0)]


def test_a_lost_lease_is_counted_and_what_lost_two_goes_alone(queue: Queue) -> None:
    queue.put(row(1), row(2, 1))
    assert queue.claim(5, lease=LOST) == [(1, 0), (2, 0)]
    assert queue.claim(5, lease=LOST) == [(1, 1), (2, 1)]
    assert queue.claim(5, lease=LEASE) == [(1, 2)]
    assert queue.claim(5, lease=LEASE) == [(2, 2)]


def test_what_lost_two_claims_waits_while_others_are_in_front(queue: Queue) -> None:
    queue.put(row(1, 3), row(2))
    for _ in range(2):
        queue.claim(5, lease=LOST, limit=100)
    queue.put(row(2), row(3, 1))
    assert queue.claim(5) == [(2, 0), (3, 0)]
    assert queue.claim(5) == [(1, 2)]


def test_a_paused_channel_is_left_out_but_for_what_expired(queue: Queue) -> None:
    queue.put(row(1), row(2, channel="sms"), row(3, channel="sms", expires_at=at(1)))
    queue.pause("acme", "sms")
    assert queue.claim(2) == [(1, 0), (3, 0)]
    queue.pause("acme", "sms", resume=True)
    assert queue.claim(2) == [(2, 0)]


def test_a_pause_of_everything_leaves_only_expiry(queue: Queue) -> None:
    queue.put(row(1), row(2, expires_at=at(1)), row(3, not_before=due_queue.NEVER, expires_at=at(1)))
    queue.pause("", "")
    assert queue.claim(2) == [(2, 0)]


def test_a_channel_nobody_serves_is_claimed_when_it_expires(queue: Queue) -> None:
    queue.put(row(1, channel="push"), row(2, channel="push", expires_at=at(1)))
    assert queue.claim(2) == [(2, 0)]


def test_only_the_holder_of_a_lease_passes_the_fence(queue: Queue) -> None:
    queue.put(row(1), row(2), row(3))
    queue.claim(1)
    assert queue.held(1, 2, 9) == {1: True, 2: True}
    assert queue.held(1, wrong=1) == {}
    queue.claim(1, lease=LOST)
    queue.remove(2)
    assert queue.held(1, 2) == {1: True}


def test_a_lease_near_its_end_runs_no_longer(queue: Queue) -> None:
    queue.put(row(1), row(2))
    queue.claim(1, lease=timedelta(seconds=1.9))
    assert queue.held(1) == {1: False}
    assert queue.renew(1) == [1]
    assert queue.held(1, 2) == {1: True, 2: False}


def test_a_lost_lease_is_not_renewed(queue: Queue) -> None:
    queue.put(row(1), row(2))
    queue.claim(1, lease=LOST)
    assert queue.renew(1) == []
    queue.claim(1)
    assert queue.renew(1, 2, wrong=1) == []


def test_a_lease_given_back_is_not_counted(queue: Queue) -> None:
    queue.put(row(1))
    queue.claim(1)
    queue.release(1, wrong=1)
    assert queue.claim(1) == []
    queue.release(1)
    assert queue.claim(1) == [(1, 0)]


def test_putting_back_frees_the_row_and_forgets_lost_claims(queue: Queue) -> None:
    queue.put(row(1))
    queue.claim(1, lease=LOST)
    queue.claim(1)
    queue.put(row(1, 7, priority=2, retry=True))
    assert queue.held(1) == {}
    assert queue.claim(6) == []
    assert queue.claim(7, retries=(True,)) == [(1, 0)]


def test_what_is_overtaken_is_due_at_once_unless_it_is_parked(queue: Queue) -> None:
    late = Overtaken(UUID(int=1), 2, "rule", at(1))
    queue.put(
        row(1, 60),
        row(2, 60, supersede_key="other"),
        row(3, 60, cause_version=2),
        row(4, 60, cause_stream=UUID(int=2)),
        row(5, not_before=due_queue.NEVER),
        row(6, 0.5),
    )
    queue.pull_forward(late)
    assert queue.claim(1) == [(1, 0), (6, 0)]
    queue.pull_forward(Overtaken(UUID(int=1), 2, "", at(1)))
    assert queue.claim(1) == [(2, 0)]


def test_in_order_an_instance_gives_one_at_a_time(queue: Queue) -> None:
    queue.put(row(1, 1), row(2), row(3), row(4, instance="beta"))
    queue.decide(4, 3, 2, 1)
    assert queue.claim(5, in_order=True) == [(3, 0), (4, 0)]
    assert queue.claim(5, in_order=True) == []
    queue.remove(3)
    assert queue.claim(5, in_order=True) == [(2, 0)]


def test_in_order_what_lost_its_worker_steps_aside(queue: Queue) -> None:
    queue.put(row(1), row(2, 1))
    queue.decide(1, 2)
    assert queue.claim(5, in_order=True, lease=LOST) == [(1, 0)]
    assert queue.claim(5, in_order=True) == [(1, 1)]
    assert queue.claim(5, in_order=True) == [(2, 0)]


def test_in_order_what_may_kill_its_worker_is_ended_alone_where_nobody_sends(queue: Queue) -> None:
    queue.put(row(1, expires_at=at(1)), row(2, expires_at=at(1), channel="sms"))
    queue.decide(1, 2)
    for lost in range(2):
        assert queue.claim(in_order=True, lease=LOST, channels=["email"]) == [(1, lost)]
    queue.pause("", "")
    assert queue.claim(5, in_order=True) == [(2, 0)]
    assert queue.claim(5, in_order=True) == [(1, 2)]


# --- all at once ----------------------------------------------------------------------------------


@pytest.mark.timeout(60)
@pytest.mark.parametrize("seed", MOVES)
def test_random_moves_come_to_the_same_on_both(real_place: Place, seed: int) -> None:
    both = zip(all_moves(queue_of(real_place), seed), all_moves(queue_of(model_place()), seed), strict=True)
    for number, (real, model) in enumerate(both):
        assert real == model, f"after move {number}"


@pytest.mark.timeout(60)
def test_random_claims_in_order_come_to_the_same_on_both(real_place: Place) -> None:
    both = zip(
        all_moves_in_order(queue_of(real_place), 0),
        all_moves_in_order(queue_of(model_place()), 0),
        strict=True,
    )
    for number, (real, model) in enumerate(both):
        assert real == model, f"after claim {number}"
