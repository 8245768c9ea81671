from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from event_log.errors import LogUnavailable, Overloaded
from event_log.group_commit import GroupCommit
from tests.event_log.waiting import wait_until


class Commits:
    """Remembers the groups it was handed; while ``open`` is cleared, a commit does not end."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.open = threading.Event()
        self.open.set()
        self.under_way = threading.Event()

    def __call__(self, members: Sequence[int]) -> list[int]:
        self.groups.append(list(members))
        self.under_way.set()
        assert self.open.wait(10)
        if any(member < 0 for member in members):
            raise ValueError("a negative member")
        return [member * 10 for member in members]


@contextmanager
def grouping(
    commit: Callable[[Sequence[int]], Sequence[int]], *, max_waiting: int = 2000, max_weight: int = 2000
) -> Iterator[GroupCommit[int, int]]:
    group = GroupCommit(commit, name="test", max_waiting=max_waiting, max_weight=max_weight, weigh=abs)
    try:
        yield group
    finally:
        group.close()


def test_each_member_gets_its_own_answer_when_many_threads_submit() -> None:
    answers: dict[int, int] = {}
    with grouping(Commits()) as group:

        def submit(member: int) -> None:
            answers[member] = group.submit(member).result(10)

        threads = [threading.Thread(target=submit, args=(n,)) for n in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {n: n * 10 for n in range(50)}


@contextmanager
def busy(commits: Commits, group: GroupCommit[int, int]) -> Iterator[None]:
    """While it lasts, one commit is under way and everything submitted waits for the next."""
    commits.open.clear()
    group.submit(1)
    assert commits.under_way.wait(10)
    try:
        yield
    finally:
        commits.open.set()


def test_what_gathers_during_a_commit_shares_the_next() -> None:
    commits = Commits()
    with grouping(commits) as group, busy(commits, group):
        futures = [group.submit(member) for member in (2, 3, 4)]
    assert [future.result(10) for future in futures] == [20, 30, 40]
    assert commits.groups == [[1], [2, 3, 4]]


def test_a_group_ends_when_it_is_heavy_enough_but_takes_one_of_any_weight() -> None:
    commits = Commits()
    with grouping(commits, max_weight=10) as group, busy(commits, group):
        for member in (100, 6, 5, 7):
            group.submit(member)
    assert commits.groups == [[1], [100], [6, 5], [7]]


def test_a_bad_member_fails_alone() -> None:
    commits = Commits()
    with grouping(commits) as group, busy(commits, group):
        good, bad, other = (group.submit(member) for member in (2, -1, 3))
    assert (good.result(10), other.result(10)) == (20, 30)
    with pytest.raises(RuntimeError, match="negative"):
        bad.result(10)


def test_nobody_is_tried_singly_when_the_database_is_away() -> None:
    tries: list[list[int]] = []

    def away(members: Sequence[int]) -> list[int]:
        tries.append(list(members))
        gathered.wait(10)
        raise LogUnavailable("away")

    gathered = threading.Event()
    with grouping(away) as group:
        first = group.submit(1)
        wait_until(lambda: len(tries) == 1)
        others = [group.submit(2), group.submit(3)]
        gathered.set()
        for future in (first, *others):
            with pytest.raises(LogUnavailable):
                future.result(10)
    assert tries == [[1], [2, 3]]


def test_it_refuses_at_once_when_too_many_wait() -> None:
    commits = Commits()
    with grouping(commits, max_waiting=2) as group, busy(commits, group):
        group.submit(2)
        group.submit(3)
        with pytest.raises(Overloaded):
            group.submit(4)
    assert commits.groups == [[1], [2, 3]]


def test_closing_commits_what_waits_and_takes_nothing_more() -> None:
    commits = Commits()
    with grouping(commits) as group:
        with busy(commits, group):
            waiting = group.submit(2)
            closing = threading.Thread(target=group.close)
            closing.start()
            wait_until(lambda: _refuses(group))
        closing.join(10)
        assert waiting.result(0) == 20


def _refuses(group: GroupCommit[int, int]) -> bool:
    try:
        group.submit(9)
    except Overloaded:
        return True
    return False


def test_a_member_cannot_be_taken_back_once_its_commit_has_begun() -> None:
    """A caller that goes away must not stop the thread that commits for everybody."""
    commits = Commits()
    with grouping(commits) as group:
        commits.open.clear()
        future = group.submit(1)
        assert commits.under_way.wait(10)
        assert future.cancel() is False
        commits.open.set()
        assert group.submit(2).result(10) == 20


def test_a_caller_that_goes_away_while_waiting_does_not_disturb_the_others() -> None:
    commits = Commits()
    with grouping(commits) as group, busy(commits, group):
        gone, staying = group.submit(2), group.submit(3)
        assert gone.cancel() is True
    assert staying.result(10) == 30
