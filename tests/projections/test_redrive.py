"""Events set aside are handled again when what was wrong with them has been put right."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from event_log.errors import LostRace
from event_log.log import Log
from event_log.recorder import APPEND_LOCK
from notification_domain.notification_events import NotificationRequested
from notification_domain.policies import Deployment
from projections import quarantine
from projections.handler import NAME, handle_batch
from projections.quarantine import SetAside
from projections.redrive import Redriven, redrive
from tests.conftest import Clock
from tests.story import Story
from tests.swept import swept_database


@pytest.fixture
def conninfo(server: str, template: str) -> str:
    return swept_database(server, template)


@pytest.fixture
def story(log: Log, clock: Clock) -> Story:
    return Story(log, clock)


class Ward:
    """A stream whose second event was damaged, and may be healed."""

    def __init__(self, story: Story, conninfo: str) -> None:
        self.story = story
        self._conninfo = conninfo
        story.add_user("ann")
        self.bad = story.tell("user.human.email.changed", email="new@example.com").position
        self.first = story.ask_for_code(code="FIRST1").position
        self.second = story.tell("user.human.phone.code.added", code="SECOND", expiry=3600).position
        self.flip(self.bad)
        story.handle()

    def flip(self, position: int) -> None:
        """Damage an event, or heal it again."""
        with psycopg.connect(self._conninfo) as connection:
            connection.execute(
                "UPDATE events SET state = set_byte(state, n, 255 - get_byte(state, n))"
                " FROM (SELECT length(state) - 1 AS n, notification_id AS id FROM events) AS last"
                " WHERE notification_id = id AND id = %s",
                (position,),
            )

    def redrive(self, position: int | None = None, instance: str | None = "acme") -> Redriven | None:
        at = self.bad if position is None else position
        return redrive(self.story.log, at, instance, self.story.clock, Deployment())

    def aside(self) -> list[SetAside]:
        with self.story.log.database.connection() as connection:
            return quarantine.page(connection.cursor(), None, 0, 100)

    def rules(self) -> list[str]:
        return [decided.fact.rule for decided in self.story.decisions()]


@pytest.fixture
def ward(story: Story, conninfo: str) -> Ward:
    return Ward(story, conninfo)


BOTH = ["user.human.email.code.added", "user.human.phone.code.added"]


@pytest.mark.parametrize("which", ["bad", "first", "second"])
@pytest.mark.parity("S1.h")
def test_a_healed_stream_is_handled_in_order_whichever_of_its_events_is_named(ward: Ward, which: str) -> None:
    assert ward.rules() == []
    ward.flip(ward.bad)
    assert ward.redrive(getattr(ward, which)) == Redriven([ward.bad, ward.first, ward.second], [])
    assert ward.rules() == BOTH
    assert ward.aside() == []
    assert ward.story.count("due_notifications") == 2
    request = ward.story.decisions()[0].fact
    assert isinstance(request, NotificationRequested)
    assert request.position_seen == ward.second


def test_what_was_learned_is_there_for_later_events(ward: Ward) -> None:
    ward.flip(ward.bad)
    ward.redrive()
    (version,) = ward.story.rows("recipients WHERE subject = 'user/ann'", "version")[0]
    assert version == 2
    ward.story.ask_for_code(code="LATER1")
    ward.story.handle()
    assert len(ward.rules()) == 3


def test_nothing_is_decided_twice_when_it_is_redriven_again_or_read_anew(ward: Ward) -> None:
    ward.flip(ward.bad)
    ward.redrive()
    assert ward.redrive() is None
    with ward.story.log.database.connection() as connection:
        connection.execute("UPDATE tracking SET position = 0 WHERE projection = %s", (NAME,))
    ward.story.handle()
    assert ward.rules() == BOTH


def test_redriving_at_once_decides_once(ward: Ward) -> None:
    ward.flip(ward.bad)
    ready = threading.Barrier(4)

    def run(_: int) -> Redriven | None:
        ready.wait()
        return ward.redrive()

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(run, range(4)))
    handled = [answer.handled for answer in answers if answer is not None and answer.handled]
    assert handled == [[ward.bad, ward.first, ward.second]]
    assert ward.rules() == BOTH


def test_what_still_cannot_be_digested_stays_with_its_new_reason(ward: Ward, conninfo: str) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute("UPDATE events SET state = '' WHERE notification_id = %s", (ward.bad,))
    redriven = ward.redrive()
    assert redriven is not None
    assert redriven.handled == []
    assert redriven.remaining == ward.aside()
    assert redriven.remaining[0].reason.endswith("not a stored body of any known format")
    assert ward.rules() == []
    assert [one.position for one in ward.aside()] == [ward.bad, ward.first, ward.second]


def test_a_stream_is_freed_as_far_as_it_can_be_read(ward: Ward) -> None:
    ward.flip(ward.bad)
    ward.flip(ward.second)
    redriven = ward.redrive()
    assert redriven is not None
    assert redriven.handled == [ward.bad, ward.first]
    assert [one.position for one in redriven.remaining] == [ward.second]
    assert ward.rules() == BOTH[:1]
    ward.flip(ward.second)
    assert ward.redrive(ward.second) == Redriven([ward.second], [])
    assert ward.rules() == BOTH


def test_there_is_nothing_to_redrive_elsewhere(ward: Ward) -> None:
    assert ward.redrive(ward.bad, "other") is None
    assert ward.redrive(1) is None
    assert ward.redrive(999) is None
    assert len(ward.aside()) == 3


def test_a_code_that_has_expired_meanwhile_is_declined(ward: Ward) -> None:
    ward.flip(ward.bad)
    ward.story.clock.move(hours=2)
    ward.redrive()
    assert [getattr(decided.fact, "reason", None) for decided in ward.story.decisions()] == ["expired"] * 2


def test_a_handler_that_still_thinks_a_stream_frozen_looks_again(
    ward: Ward, conninfo: str, log: Log, clock: Clock
) -> None:
    """The redrive commits between what the handler has read and what it stores."""
    ward.flip(ward.bad)
    ward.story.ask_for_code(code="LATER1")
    with psycopg.connect(conninfo) as holder, ThreadPoolExecutor(1) as threads:
        holder.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
        handling = threads.submit(handle_batch, log, clock, Deployment())
        _wait_for_a_waiter(conninfo)
        holder.execute("DELETE FROM quarantined_events")
        holder.commit()
        with pytest.raises(LostRace):
            handling.result()
    assert ward.story.handle() > 0
    assert ward.rules() == ["user.human.email.code.added"]


def _wait_for_a_waiter(conninfo: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        while not connection.execute(
            "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        ).fetchone():
            pass
