from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from event_log.log import Log, head, read_after
from notification_domain.notification import StartTransmission
from notification_domain.notification_events import ResendRequested
from notification_domain.outcomes import Delivered
from projections.rebuild import REBUILDABLE, Progress, content_hash, rebuild
from projections.rebuilding import tables
from projections.rebuilding.due_rows import DueRows
from projections.rebuilding.errors import (
    NotRebuildable,
    RebuildError,
)
from projections.rebuilding.history_rows import HistoryRows
from projections.rebuilding.new_version import NewVersion
from projections.rebuilding.recipient_rows import RecipientRows
from tests.projections.histories import RESENT, requested, write
from tests.projections.rebuild_story import (
    TABLES,
    Clock,
    Owner,
    attempt,
    claim,
    conclude,
    left_overs,
    rows,
    step,
    tell,
    varied_past,
)

ROOT = Path(__file__).parents[2]


CATALOG = {
    "columns": """
        SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
          FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE a.attrelid = %s::regclass AND a.attnum > 0 ORDER BY a.attnum""",
    "indexes": """
        SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s ORDER BY 1""",
    "constraints": """
        SELECT conname, contype, pg_get_constraintdef(oid)
          FROM pg_constraint WHERE conrelid = %s::regclass ORDER BY 1""",
    "table": """
        SELECT reloptions, relacl::text[], relowner::regrole::text, relnamespace::regnamespace::text
          FROM pg_class WHERE oid = %s::regclass""",
}


def catalog(owner: Owner, table: str) -> dict[str, Any]:
    return {part: owner.execute(query, (table,)).fetchall() for part, query in CATALOG.items()}


@pytest.mark.parametrize("name", REBUILDABLE)
def test_the_same_rows_come_from_the_log_whenever_it_is_rebuilt(
    name: str, log: Log, owning: Log, owner: Owner, clock: Clock
) -> None:
    varied_past(log, clock)
    before, shape = rows(log, owner, name), catalog(owner, TABLES[name])
    events = owner.execute("SELECT count(*), max(notification_id) FROM events").fetchone()
    first = rebuild(owning, name, batch=10)
    second = rebuild(owning, name)
    assert before
    assert rows(log, owner, name) == before
    assert catalog(owner, TABLES[name]) == shape
    assert first.equal
    assert second.equal
    assert first.content_hash == second.content_hash == content_hash(log, owner, name)
    assert (first.rows, first.events) == (len(before), events[0] if events else None)
    assert owner.execute("SELECT count(*), max(notification_id) FROM events").fetchone() == events
    assert left_overs(owner) == 0


DAMAGES = {
    "due": (
        "DELETE FROM due_notifications WHERE ctid IN (SELECT ctid FROM due_notifications LIMIT 3)",
        "UPDATE due_notifications SET priority = 2, supersede_key = 'x'",
        "UPDATE due_notifications SET not_before = not_before + interval '1 day'",
        "UPDATE due_notifications SET notification_id = gen_random_uuid()",
        "UPDATE due_notifications SET retry = NOT retry",
    ),
    "recipients": (
        "DELETE FROM recipients WHERE subject LIKE 'user/1%'",
        "UPDATE recipients SET version = version + 1",
        "UPDATE recipients SET sealed = sealed || '\\x00'",
        "UPDATE recipients SET sealed = '\\x00'",
        "UPDATE recipients r SET sealed = o.sealed FROM recipients o WHERE o.subject = 'user/1'",
        "TRUNCATE recipients",
    ),
    "history": (
        "DELETE FROM notifications WHERE state = 'sent'",
        "UPDATE notifications SET state = 'waiting', closed_at = NULL",
        "UPDATE notifications SET version = 99, attempts = 9",
        "TRUNCATE notifications",
    ),
    "pauses": (
        "DELETE FROM delivery_pauses WHERE instance_id = 'elsewhere'",
        "UPDATE delivery_pauses SET channel = 'sms'",
        "INSERT INTO delivery_pauses VALUES ('acme', '', 1)",
    ),
}


@pytest.mark.parametrize(("name", "damage"), [(name, one) for name in DAMAGES for one in DAMAGES[name]])
def test_damaged_rows_are_repaired_and_the_difference_is_reported(
    name: str, damage: str, log: Log, owning: Log, owner: Owner, clock: Clock
) -> None:
    varied_past(log, clock)
    right = content_hash(log, owner, name)
    owner.execute(damage)
    repaired = rebuild(owning, name)
    assert not repaired.equal
    assert repaired.previous_hash != right
    assert repaired.content_hash == right == content_hash(log, owner, name)
    assert rebuild(owning, name).equal


@pytest.mark.parametrize("name", REBUILDABLE)
def test_an_empty_log_gives_an_empty_table(name: str, owning: Log) -> None:
    rebuilt = rebuild(owning, name)
    assert (rebuilt.rows, rebuilt.events, rebuilt.equal) == (0, 0, True)


def test_a_lease_goes_on_over_a_rebuild(log: Log, owning: Log, owner: Owner, clock: Clock) -> None:
    tell(log, clock, range(6))
    one, other, *_ = claim(log, clock, 4)
    under_way = attempt(log, clock, one)
    before = rows(log, owner, "due")
    leases = "SELECT count(*) FROM due_notifications WHERE lease_until IS NOT NULL AND claims = 1"
    rebuild(owning, "due")
    assert rows(log, owner, "due") == before
    assert owner.execute(leases).fetchone() == (4,)
    assert len(claim(log, clock, 10)) == 2
    conclude(log, clock, other, Delivered())
    assert step(log, clock, under_way, StartTransmission(clock())).held.version == 3


def test_what_was_pulled_forward_stays_so_and_what_is_parked_is_never_due(
    log: Log, owning: Log, owner: Owner, clock: Clock
) -> None:
    named = varied_past(log, clock)
    owner.execute(
        "UPDATE due_notifications SET due_at = due_at + interval '1 year' WHERE due_at < '9999-01-01'"
    )
    owner.execute(
        "UPDATE due_notifications SET due_at = '2026-01-01' WHERE notification_id = ANY(%s)",
        ([named["deferred"], named["parked"]],),
    )
    assert rebuild(owning, "due").equal
    found = dict(
        owner.execute("SELECT notification_id, due_at - not_before FROM due_notifications").fetchall()
    )
    assert found.pop(named["deferred"]) < timedelta()
    assert set(found.values()) == {timedelta()}


def test_a_closed_notification_that_was_resent_is_due_again(log: Log, owning: Log) -> None:
    write(log, 1, [requested(), *RESENT[:3]])
    write(log, 2, [requested(2)])
    assert isinstance(RESENT[3], ResendRequested)
    write(log, 1, [RESENT[3]], version=5)
    rebuilt = rebuild(owning, "due", batch=2)
    assert (rebuilt.rows, rebuilt.equal) == (2, False)


@pytest.mark.parametrize("name", ["due", "recipients", "history"])
def test_what_is_not_remembered_is_read_again(
    name: str, log: Log, owning: Log, owner: Owner, clock: Clock
) -> None:
    varied_past(log, clock)
    versions: dict[str, NewVersion] = {
        "due": DueRows(owning, remembered=1),
        "recipients": RecipientRows(owning, remembered=1),
        "history": HistoryRows(remembered=1),
    }
    forgetful, ours = versions[name], name != "recipients"
    with tables.new_table(owner, forgetful.table):
        last, position = head(owner.cursor())[0], 0
        while position < last:
            page = read_after(owning, owner.cursor(), position, 3, ours=ours, callers=not ours)
            if page.events:
                forgetful.apply(owner, page.events)
            position = page.reached
        forgetful.settle(owner.cursor(binary=True))
        new = forgetful.content_hashes((owner, tables.beside(forgetful.table)))
        assert new == [content_hash(log, owner, name)]


def test_progress_rises_from_filling_to_done(log: Log, owning: Log, owner: Owner, clock: Clock) -> None:
    varied_past(log, clock)
    told: list[Progress] = []
    rebuild(owning, "history", report=told.append, batch=30)
    phases = [progress.phase for progress in told]
    assert phases == ["filling"] * phases.count("filling") + ["swapping", "done"]
    assert phases.count("filling") > 3
    positions = [progress.position for progress in told]
    assert positions == sorted(positions)
    assert told[-1].position == told[-1].head == head(owner.cursor())[0]
    assert told[-1].events == owner.execute("SELECT count(*) FROM events").fetchone()[0]  # type: ignore[index]  # a count has a row


def test_what_cannot_be_rebuilt_is_named(owning: Log) -> None:
    with pytest.raises(
        NotRebuildable, match="secrets cannot be rebuilt; these can: due, recipients, history"
    ):
        rebuild(owning, "secrets")
    assert issubclass(NotRebuildable, RebuildError)


def test_a_rebuild_has_no_path_to_a_provider() -> None:
    look = (
        "import projections.rebuild, sys; print([m for m in sys.modules if m.split('.')[0] in "
        "('workers', 'api', 'tidings', 'aiosmtplib', 'smtplib', 'twilio', 'aiohttp', 'requests')])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    assert answer.stdout.strip() == "[]"
