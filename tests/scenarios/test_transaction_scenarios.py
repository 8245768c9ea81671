"""What holds a transaction, a lock or a projection while messages are sent: nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from event_log import due_queue
from event_log.database import IDLE_IN_TRANSACTION_SECONDS, Database
from event_log.due_queue import Wanted
from event_log.errors import EventLogError
from tests.workers.conftest import Office, until
from tests.workers.gates import Gate

AN_HOUR = 3600.0
NO_TIME = timedelta(milliseconds=50)


def open_transactions(conninfo: str) -> list[Any]:
    with psycopg.connect(conninfo, autocommit=True) as other:
        return other.execute(
            "SELECT query FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND xact_start IS NOT NULL"
        ).fetchall()


@pytest.mark.parametrize("in_order", [False, True])
@pytest.mark.parity("S1.b", "S2.b", "S6.2", "S6.a")
async def test_no_transaction_is_open_while_a_message_is_sent(
    office: Office, conninfo: str, in_order: bool
) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    gate = Gate(after=True)
    async with office.working(office.routes(gate.wrap), poll=AN_HOUR, retry_poll=AN_HOUR, in_order=in_order):
        await gate.reached.wait()
        # Sooner than the server ends a session that is idle in a transaction.
        await until(lambda: not open_transactions(conninfo), within=IDLE_IN_TRANSACTION_SECONDS / 2)
        gate.open.set()
        await until(lambda: not office.busy())
    assert office.topics()[-1] == "NotificationSent"


@pytest.mark.parity("S2.7", "S2.a")
async def test_a_worker_uses_what_is_known_and_triggers_no_projection(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    before = office.story.rows("tracking", "projection, position")
    office.story.tell("user.human.email.changed", email="unread@example.com")
    async with office.working():
        await until(lambda: not office.busy())
    assert [mail["to"] for mail in await office.messages()] == [["ann@example.com"]]
    assert office.story.rows("tracking", "projection, position") == before


@pytest.mark.parity("S1.TransactionDuration")
def test_a_statement_that_takes_too_long_is_ended(conninfo: str) -> None:
    database = Database(conninfo, statement_limit=NO_TIME)
    database.open()
    try:
        with pytest.raises(EventLogError), database.connection() as connection:
            connection.execute("SELECT pg_sleep(10)")
        with database.connection() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        database.close()


@pytest.mark.parity("S3.1")
async def test_whose_turn_it_is_is_asked_of_the_queue_and_not_of_the_log(
    office: Office, conninfo: str
) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    with psycopg.connect(conninfo) as owner:
        owner.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        with office.log.database.connection() as connection:
            connection.execute("SET statement_timeout = '2s'")
            wanted = Wanted(
                now=office.clock(), limit=1, lease=timedelta(minutes=1), token=1, channels=("email", "sms")
            )
            (place,) = due_queue.waiting(connection.cursor(), wanted)
            assert place.instance == "acme"
            connection.execute("RESET statement_timeout")
        assert len(office.claim()) == 1
