from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notification_domain.backoff import RetryPolicy, next_delay
from tests.domain.strategies import delays, jitters, policies

POLICY = RetryPolicy(min_delay=5.0, max_delay=60.0, factor=1.5)


def seconds(previous: float | None, policy: RetryPolicy = POLICY, jitter: float = 0.0) -> float:
    before = None if previous is None else timedelta(seconds=previous)
    return next_delay(before, policy, jitter).total_seconds()


@pytest.mark.parametrize(
    ("previous", "jitter", "delay"),
    [
        (None, 0.0, 5.0),
        (None, 0.8, 7.0),
        (1.0, 0.0, 5.0),
        (8.0, 0.0, 8.0),
        (8.0, 0.5, 10.0),
        (55.0, 0.9, 60.0),
        (60.0, 0.0, 60.0),
        (600.0, 0.5, 60.0),
    ],
)
@pytest.mark.parity("S1.MinRetryDelay", "S1.17")
def test_a_delay_lies_between_the_last_one_and_its_growth(
    previous: float | None, jitter: float, delay: float
) -> None:
    assert seconds(previous, jitter=jitter) == delay


@pytest.mark.parametrize("factor", [1.0, 0.5, 0.0, -3.0])
@pytest.mark.parity("S1.RetryDelayFactor", "S1.17", "S1.g")
def test_delays_stay_the_same_when_the_factor_lets_nothing_grow(factor: float) -> None:
    policy = RetryPolicy(min_delay=5.0, max_delay=60.0, factor=factor)
    assert seconds(None, policy, 0.99) == 5.0
    assert seconds(8.0, policy, 0.99) == 8.0


@pytest.mark.parity("S1.17")
def test_the_cap_wins_when_it_is_below_the_shortest_delay() -> None:
    assert seconds(None, RetryPolicy(min_delay=10.0, max_delay=4.0)) == 4.0


@pytest.mark.parity("S1.MaxRetryDelay", "S1.17", "S6.7", "S6.d")
@given(st.none() | delays, policies, jitters)
def test_every_delay_keeps_its_bounds(previous: float | None, policy: RetryPolicy, jitter: float) -> None:
    """S1.17: uniform in [current, current x factor), never under the minimum, never over the maximum."""
    current = max(previous or 0.0, policy.min_delay)
    low = min(current, policy.max_delay)
    high = min(current * max(policy.factor, 1.0), policy.max_delay)
    microsecond = 1e-6
    assert low - microsecond <= seconds(previous, policy, jitter) <= high + microsecond


@given(policies, st.lists(jitters, max_size=8))
def test_delays_never_shrink(policy: RetryPolicy, luck: list[float]) -> None:
    previous = None
    for jitter in luck:
        delay = next_delay(previous, policy, jitter)
        assert previous is None or delay >= previous
        previous = delay


@pytest.mark.parity("S6.7")
@pytest.mark.parametrize(
    ("share", "previous", "chance", "delay"),
    [
        (0.0, None, 0.9, 5.0),
        (0.0, 8.0, 0.9, 12.0),
        (0.5, 8.0, 0.0, 10.0),
        (0.5, 8.0, 0.5, 11.0),
        (0.0, 55.0, 0.0, 60.0),
    ],
)
def test_less_jitter_leaves_less_of_the_growth_to_chance(
    share: float, previous: float | None, chance: float, delay: float
) -> None:
    policy = RetryPolicy(min_delay=5.0, max_delay=60.0, factor=1.5, jitter=share)
    assert seconds(previous, policy, chance) == delay
