"""Workers that die, freeze, are told to stop, or lose their database on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from event_log.database import Database
from event_log.deployment_key import DeploymentKey
from event_log.log import Log
from event_log.recorder import APPEND_LOCK
from notification_domain.notification import StartAttempt, StartTransmission
from notification_domain.notification_events import Aftermath, OutcomeUnknown
from notification_domain.outcomes import Outcome
from tests.story import ORIGIN
from tests.workers.conftest import Office, cut_all_connections, until
from tests.workers.gates import Gate
from workers.channels.port import Message, PointOfNoReturn
from workers.loading import load
from workers.recording import Advanced, Step, Subject, advance
from workers.routes import Route

MINUTE = timedelta(minutes=1)


def begin(office: Office) -> list[Subject]:
    """What a worker has done when it dies right after recording its attempts."""
    started = []
    for one in load(office.log, office.claim(MINUTE)):
        (answer,) = advance(
            office.log,
            [Step(one.subject, StartAttempt(office.clock(), one.held.token, "sandbox"))],
            office.clock,
        )
        assert isinstance(answer, Advanced)
        started.append(Subject(answer.held, one.subject.user, one.subject.user_version))
    return started


def pass_the_point_of_no_return(office: Office, subject: Subject) -> None:
    (answer,) = advance(office.log, [Step(subject, StartTransmission(office.clock()))], office.clock)
    assert isinstance(answer, Advanced)


async def test_it_is_sent_once_when_its_worker_died_before_the_point_of_no_return(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    begin(office)
    office.lose_leases()
    await office.deliver()
    assert len(await office.messages()) == 1
    assert office.topics() == [
        "NotificationRequested",
        "AttemptStarted",
        "AttemptStarted",
        "TransmissionStarted",
        "NotificationSent",
    ]


@pytest.mark.parity("S6.a")
async def test_the_doubt_is_recorded_first_when_its_worker_died_after_the_point_of_no_return(
    office: Office,
) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    (subject,) = begin(office)
    pass_the_point_of_no_return(office, subject)
    office.lose_leases()
    await office.deliver()
    assert office.topics()[2:] == [
        "TransmissionStarted",
        "OutcomeUnknown",
        "AttemptStarted",
        "TransmissionStarted",
        "NotificationSent",
    ]
    doubt = office.story.facts(office.only())[3]
    assert isinstance(doubt, OutcomeUnknown)
    assert (doubt.stage, doubt.aftermath) == ("process", Aftermath.RESEND)


async def test_an_invitation_is_parked_when_its_worker_died_after_the_point_of_no_return(
    office: Office,
) -> None:
    office.story.add_user()
    office.story.tell("user.human.invite.code.added", code="WELCOME", expiry=3600, trigger_origin=ORIGIN)
    office.story.handle()
    (subject,) = begin(office)
    pass_the_point_of_no_return(office, subject)
    office.lose_leases()
    await office.deliver()
    assert await office.messages() == []
    assert office.last().aftermath is Aftermath.PARK


@pytest.mark.parity("S5.a")
async def test_it_is_parked_when_too_many_claims_were_lost(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    with office.log.database.connection() as connection:
        connection.execute("UPDATE due_notifications SET claims = 3")
    await office.deliver(max_claims=3)
    assert await office.messages() == []
    assert office.last().aftermath is Aftermath.PARK
    assert office.last().error == "3 claims were lost without a word"


async def test_a_row_below_the_limit_of_lost_claims_is_sent(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    with office.log.database.connection() as connection:
        connection.execute("UPDATE due_notifications SET claims = 2")
    await office.deliver(max_claims=3)
    assert len(await office.messages()) == 1


# --- the fence ------------------------------------------------------------------------------------


async def test_a_worker_that_lost_its_lease_can_neither_send_nor_record(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    gate = Gate(first_only=True)
    async with office.working(office.routes(gate.wrap)):
        await gate.reached.wait()
        office.lose_leases()
        async with office.working():
            await until(lambda: office.topics()[-1] == "NotificationSent")
        before = office.topics()
        gate.open.set()
    assert len(await office.messages()) == 1
    assert office.topics() == before
    assert before.count("TransmissionStarted") == 1


@pytest.mark.parity("S1.b", "S5.b", "ALL-5")
async def test_a_worker_cannot_send_when_its_lease_has_run_out_though_nobody_took_over(
    office: Office,
) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    gate = Gate()
    async with office.working(office.routes(gate.wrap), poll=60):
        await gate.reached.wait()
        office.lose_leases()
        gate.open.set()
    assert await office.messages() == []
    assert office.topics() == ["NotificationRequested", "AttemptStarted"]
    await office.deliver()
    assert len(await office.messages()) == 1


async def test_an_outcome_that_comes_after_anothers_is_no_second_ending(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    gate = Gate(after=True, first_only=True)
    async with office.working(office.routes(gate.wrap)):
        await gate.reached.wait()
        office.lose_leases()
        async with office.working():
            await until(lambda: office.topics()[-1] == "NotificationSent")
        gate.open.set()
    assert office.topics().count("NotificationSent") == 1
    assert office.topics().count("OutcomeUnknown") == 1
    assert len(await office.messages()) == 2, "the second was announced"


async def test_a_lease_is_renewed_as_long_as_the_delivery_takes(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    gate = Gate()
    # A third of the lease is less than what is left of it above the fence's margin.
    async with office.working(office.routes(gate.wrap), lease=timedelta(seconds=3.3)):
        await gate.reached.wait()
        first = _lease(office)
        await until(lambda: _lease(office) > first)
        gate.open.set()
        await until(lambda: not office.busy())
    assert office.topics()[-1] == "NotificationSent"


def _lease(office: Office) -> float:
    with office.log.database.connection() as connection:
        row = connection.execute(
            "SELECT extract(epoch FROM lease_until)::float8 FROM due_notifications"
        ).fetchone()
        assert row
        return float(row[0])


# --- time-outs ------------------------------------------------------------------------------------


@pytest.mark.parity("S1.f", "S2.6", "S5.7", "S5.a")
async def test_it_is_tried_again_when_nothing_moves_before_the_point_of_no_return(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    gate = Gate()
    async with office.working(office.routes(gate.wrap), dispatch_timeout=timedelta(milliseconds=50)):
        await until(lambda: not office.busy())
    assert (office.last().stage, office.last().counts) == ("dispatch", True)
    assert await office.messages() == []


@pytest.mark.parity("S2.6", "S5.7")
async def test_the_dispatch_time_out_ends_at_the_point_of_no_return(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    gate = Gate(after=True)
    async with office.working(office.routes(gate.wrap), dispatch_timeout=timedelta(seconds=1)):
        await gate.reached.wait()
        loop = asyncio.get_running_loop()
        over = loop.time() + 1.2
        await until(lambda: loop.time() > over)
        gate.open.set()
        await until(lambda: not office.busy())
    assert office.topics()[-1] == "NotificationSent"


# --- stopping -------------------------------------------------------------------------------------


@pytest.mark.parity("S5.10", "S6.10")
async def test_stopping_waits_for_what_is_under_way(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    gate = Gate()
    async with office.working(office.routes(gate.wrap)):
        await gate.reached.wait()
        asyncio.get_running_loop().call_later(0.1, gate.open.set)
    assert office.topics()[-1] == "NotificationSent"


@pytest.mark.parity("S5.10")
@pytest.mark.parametrize("in_flight", [1, 10])
async def test_stopping_does_not_wait_for_ever_and_takes_nothing_new(office: Office, in_flight: int) -> None:
    for user in ("ann", "bob"):
        office.story.add_user(user)
        office.story.ask_for_code(user)
    office.story.handle()
    gate = Gate()
    settings: dict[str, Any] = {
        "claim_batch": 1,
        "in_flight": in_flight,
        "drain": timedelta(milliseconds=100),
    }
    async with office.working(office.routes(gate.wrap), **settings):
        await gate.reached.wait()
    gate.open.set()
    assert await office.messages() == []
    begun = [office.topics(one.id).count("AttemptStarted") for one in office.story.decisions()]
    assert sum(begun) <= in_flight
    assert office.story.rows("due_notifications", "lease_token") == [(None,), (None,)]
    await office.deliver()
    assert len(await office.messages()) == 2


@pytest.mark.parity("ALL-1")
async def test_a_worker_without_work_stops_at_once(office: Office) -> None:
    async with office.working(poll=60):
        pass


async def test_a_worker_sleeps_until_it_is_woken(office: Office) -> None:
    async with office.working(poll=60) as worker:
        office.story.add_user()
        office.story.ask_for_code()
        office.story.handle()
        worker.wake()
        await until(lambda: office.topics()[-1] == "NotificationSent")


# --- the database goes away -----------------------------------------------------------------------


async def test_nothing_is_lost_when_connections_are_cut_while_recording(
    office: Office, conninfo: str
) -> None:
    for number in range(5):
        office.story.add_user(f"u{number}")
        office.story.ask_for_code(f"u{number}")
    office.story.handle()
    gate = Gate(after=True)
    async with office.working(office.routes(gate.wrap)):
        await gate.reached.wait()
        cut_all_connections(conninfo)
        gate.open.set()
        await until(lambda: not office.busy())
    assert len(await office.messages()) == 5
    assert all(office.topics(one.id)[-1] == "NotificationSent" for one in office.story.decisions())


@contextmanager
def database_away(conninfo: str) -> Iterator[None]:
    """Nobody gets a connection meanwhile, as while PostgreSQL restarts."""
    name = sql.Identifier(str(psycopg.conninfo.conninfo_to_dict(conninfo)["dbname"]))
    elsewhere = psycopg.conninfo.make_conninfo(conninfo, dbname="postgres")

    def allow(answer: str) -> None:
        with psycopg.connect(elsewhere, autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS " + answer).format(name))

    with psycopg.connect(conninfo, autocommit=True) as last:
        allow("false")
        last.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    try:
        yield
    finally:
        allow("true")


@pytest.fixture
def impatient_log(conninfo: str, key: DeploymentKey, log: Log) -> Iterator[Log]:
    """A worker's own, which gives up on a connection sooner than the tests' time-out."""
    database = Database(conninfo, connect_timeout=0.3)
    database.open()
    yield Log(database, key, log.keyring._chance)
    database.close()


@pytest.mark.parity("S5.c", "ALL-5")
@pytest.mark.timeout(30)
async def test_a_result_waits_for_the_database_and_is_recorded_when_it_is_back(
    office: Office, conninfo: str, impatient_log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    gate = Gate(after=True)
    async with office.working(office.routes(gate.wrap), log=impatient_log):
        await gate.reached.wait()
        with database_away(conninfo):
            gate.open.set()
            await until(lambda: "a result waits for the log" in caplog.text)
        await until(lambda: not office.busy(), within=20)
    assert office.topics()[-1] == "NotificationSent"
    assert len(await office.messages()) == 1


async def test_what_was_claimed_is_begun_as_soon_as_it_can_be_and_not_when_the_lease_ends(
    office: Office, conninfo: str, caplog: pytest.LogCaptureFixture
) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    with psycopg.connect(conninfo) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
        async with office.working(lease=timedelta(minutes=10)):
            # A claim needs no turn to append; beginning an attempt does.
            await until(lambda: "no claims" in caplog.text)
            other.rollback()
            await until(lambda: not office.busy())
    assert office.topics()[-1] == "NotificationSent"


class Broken:
    """A channel with a bug."""

    provider = "broken"
    at_once = 1

    def __init__(self) -> None:
        self.tries = 0

    async def deliver(self, message: Message, begin: PointOfNoReturn) -> Outcome | None:  # noqa: ARG002
        self.tries += 1
        raise ArithmeticError

    async def close(self) -> None:
        pass


async def test_a_bug_in_a_channel_leaves_the_row_to_the_next_claim_and_the_worker_alive(
    office: Office,
) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.handle()
    broken = Broken()
    routes = office.routes()
    async with office.working(routes | {"email": Route(broken, routes["email"].sender)}):
        await until(lambda: broken.tries == 1)
        office.lose_leases()
        await until(lambda: broken.tries == 2)
    await routes["email"].channel.close()
    assert office.topics() == ["NotificationRequested", "AttemptStarted", "AttemptStarted"]
