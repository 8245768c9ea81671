from __future__ import annotations

import os

import pytest

from event_log.deployment_key import DeploymentKey
from event_log.envelope import SourceEvent
from event_log.errors import Undecodable
from event_log.intake import append
from event_log.log import Log, read_after
from notification_domain.identity import stream_id
from notification_domain.policies import Deployment
from notification_domain.recipients import User
from projections import handler, quarantine, tracking
from projections.quarantine import Poison
from projections.rebuild import REBUILDABLE, rebuild
from projections.rebuilding.errors import (
    Unfaithful,
)
from projections.recipients import load_known
from tests.projections.rebuild_story import (
    Clock,
    Owner,
    caller_event,
    follow,
    left_overs,
    rows,
    tell,
    varied_past,
)


def test_a_quarantined_event_and_its_frozen_stream_are_passed_over_as_the_handler_did(
    log: Log, owning: Log, owner: Owner, clock: Clock
) -> None:
    tell(log, clock, range(3))
    poison = caller_event("user.human.profile.changed", "user/1", "poison", first_name="Poison")
    assert isinstance(append(log, "acme", [poison]), tuple)
    with log.database.connection() as connection:
        cursor = connection.cursor()
        since = tracking.position(cursor, handler.NAME)
        event = read_after(log, cursor, since, 9, ours=False, callers=True).events[-1]
        with connection.transaction():
            tracking.advance(cursor, handler.NAME, since, event.position)
            quarantine.set_aside(cursor, handler.NAME, [Poison(event, "a bad day")], clock())
    later = caller_event("user.human.profile.changed", "user/1", "later", first_name="Frozen")
    assert isinstance(append(log, "acme", [later]), tuple)
    follow(log, clock)
    assert rebuild(owning, "recipients", batch=4).equal
    known = load_known(log, owner.cursor(), [("acme", "user/1")])["acme", "user/1"]
    assert isinstance(known.state, User)
    assert known.state.first_name == "Ann"


def test_only_what_the_handler_has_read_is_learned(log: Log, owning: Log, owner: Owner, clock: Clock) -> None:
    tell(log, clock, range(3))
    unread = caller_event("user.human.profile.changed", "user/1", "later", first_name="Not yet")
    assert isinstance(append(log, "acme", [unread]), tuple)
    assert rebuild(owning, "recipients").equal
    handler.handle_batch(log, clock, Deployment())
    known = load_known(log, owner.cursor(), [("acme", "user/1")])["acme", "user/1"]
    assert isinstance(known.state, User)
    assert known.state.first_name == "Not yet"


@pytest.mark.parametrize("name", REBUILDABLE)
def test_rebuilding_succeeds_when_a_person_was_erased(
    name: str, log: Log, owning: Log, owner: Owner, clock: Clock
) -> None:
    varied_past(log, clock)
    open_ones = owner.execute("SELECT count(*) FROM due_notifications").fetchone()
    listed = owner.execute("SELECT count(*) FROM notifications").fetchone()
    owner.execute("DELETE FROM subject_keys WHERE subject IN ('user/1', 'user/2')")
    assert rebuild(owning, name).equal
    assert owner.execute("SELECT count(*) FROM due_notifications").fetchone() == open_ones
    assert owner.execute("SELECT count(*) FROM notifications").fetchone() == listed
    known = load_known(owning, owner.cursor(), [("acme", "user/1"), ("acme", "user/3")])
    assert ("acme", "user/1") not in known or name != "recipients"
    assert ("acme", "user/3") in known


@pytest.mark.parametrize("name", REBUILDABLE)
def test_somebody_who_comes_back_after_erasure_is_known_from_then_on(
    name: str, log: Log, owning: Log, owner: Owner, clock: Clock, key: DeploymentKey
) -> None:
    tell(log, clock, range(3))
    owner.execute("DELETE FROM subject_keys WHERE subject = 'user/1'")
    later = Log(log.database, key, os.urandom)  # one that does not remember the key
    back = caller_event("user.human.added", "user/1", "back", email="back@example.com")
    assert isinstance(append(later, "acme", [back]), tuple)
    follow(later, clock)
    assert rebuild(owning, name).equal
    known = load_known(owning, owner.cursor(), [("acme", "user/1")])["acme", "user/1"]
    assert isinstance(known.state, User)
    assert (known.state.last_email, known.state.first_name) == ("back@example.com", "")


def test_an_event_damaged_since_the_handler_read_it_stops_the_rebuild(
    log: Log, owning: Log, owner: Owner, clock: Clock
) -> None:
    tell(log, clock, range(3))
    before = rows(log, owner, "recipients")
    owner.execute(
        "UPDATE events SET state = state || '\\x00' WHERE originator_id = %s AND originator_version = 1",
        (stream_id("acme", "user/1"),),
    )
    with pytest.raises(Unfaithful, match="stay as they are"):
        rebuild(owning, "recipients")
    assert rows(log, owner, "recipients") == before
    assert left_overs(owner) == 0


@pytest.mark.parametrize("name", ["due", "history"])
def test_rows_of_streams_that_newer_code_wrote_to_stay_as_they_are(
    name: str, log: Log, owning: Log, owner: Owner, clock: Clock
) -> None:
    named = varied_past(log, clock)
    owner.execute(
        "UPDATE events SET topic = 'notification.invented' WHERE originator_id = ANY(%s) "
        "AND originator_version = 4",
        ([named["deferred"], named["sent"]],),
    )
    before = rows(log, owner, name)
    with owning.database.connection() as connection:
        read = read_after(owning, connection.cursor(), 0, 1000, ours=True, callers=True).events
    assert any(isinstance(event.fact, Undecodable) for event in read)
    assert any(isinstance(event.fact, SourceEvent) for event in read)
    assert rebuild(owning, name).equal
    assert rows(log, owner, name) == before
