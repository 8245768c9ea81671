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
from projections.rebuild import REBUILDABLE, Progress, rebuild
from projections.rebuilding import tables
from projections.rebuilding.errors import (
    Unfaithful,
)
from projections.rebuilding.recipient_rows import RecipientRows
from projections.recipients import Known, load_known, opened, stored
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


def erase(owner: Owner, subject: str) -> None:
    owner.execute("DELETE FROM subject_keys WHERE subject = %s", (subject,))


def test_somebody_erased_while_a_rebuild_reads_gets_no_new_key(
    log: Log, owning: Log, owner: Owner, clock: Clock, key: DeploymentKey
) -> None:
    tell(log, clock, range(3))

    def erase_meanwhile(progress: Progress) -> None:
        if progress.phase == "filling":
            erase(owner, "user/1")

    assert rebuild(owning, "recipients", report=erase_meanwhile).equal
    keys = owner.execute("SELECT count(*) FROM subject_keys WHERE subject = 'user/1'").fetchone()
    assert keys == (0,)
    later = Log(log.database, key, os.urandom)  # one that does not remember the key
    known = load_known(later, owner.cursor(), [("acme", "user/1"), ("acme", "user/2")])
    assert known.keys() == {("acme", "user/2")}


@pytest.mark.parametrize("remembered", [1, 1000])
def test_what_was_known_before_erasure_is_not_carried_to_somebody_who_came_back(
    remembered: int, log: Log, owning: Log, owner: Owner, clock: Clock, key: DeploymentKey
) -> None:
    tell(log, clock, range(3))
    rows = RecipientRows(owning, remembered)
    with tables.new_table(owner, rows.table):
        page = read_after(owning, owner.cursor(), 0, 1000, ours=False, callers=True)
        rows.apply(owner, page.events)
        erase(owner, "user/1")
        later = Log(log.database, key, os.urandom)  # one that does not remember the key
        back = caller_event("user.human.profile.changed", "user/1", "back", first_name="Anew")
        assert isinstance(append(later, "acme", [back]), tuple)
        follow(later, clock)
        rows.apply(
            owner, read_after(owning, owner.cursor(), page.reached, 9, ours=False, callers=True).events
        )
        rows.settle(owner.cursor(binary=True))
        filled, in_use = rows.content_hashes((owner, tables.beside(rows.table)), (owner, rows.table))
        new = stored(owner.cursor(binary=True), [("acme", "user/1")], tables.beside(rows.table))
    assert filled == in_use
    ((_, known),) = opened(later, owner.cursor(), new)
    assert isinstance(known, Known)
    assert known.state == User(first_name="Anew"), "and nothing of before"


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
