"""Connections that break when a commit is done but nobody was told, and LISTEN connections that vanish."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio

from event_log.database import Database
from event_log.deployment_key import DeploymentKey
from event_log.errors import LogUnavailable
from event_log.intake import Appended, CallerEvent, Intake
from event_log.log import Log, read_stream
from notification_domain.identity import stream_id
from notification_domain.policies import Deployment
from projections.handler import handle_batch
from tests.failpoints.severing import severing
from tests.failpoints.stage import KEY, Play, Theatre, end, play, theatre, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]
CUTS = 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(
    server: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Theatre]:
    async with theatre(server, template, tmp_path_factory.mktemp("theatre")) as made:
        yield made


@pytest.fixture
def sockets() -> Iterator[Path]:
    """Short enough for the path of a socket."""
    with tempfile.TemporaryDirectory(prefix="sever-") as directory:
        yield Path(directory) / "s"


def log_of(conninfo: str) -> Log:
    return Log(Database(conninfo), DeploymentKey(KEY), os.urandom)


async def test_a_repeated_batch_is_a_duplicate_and_no_conflict_when_its_commit_was_not_told(
    house: Theatre, sockets: Path
) -> None:
    async with play(house) as case, severing(case.conninfo, sockets) as cut:
        log = await asyncio.to_thread(log_of, cut.conninfo)
        intake = Intake(log)
        for version in range(CUTS):
            cut.cut_at = {cut.commits + 1}
            event = CallerEvent(
                source="s", id=f"{version}", type="x.y", subject="user/1", expected_version=version
            )
            with pytest.raises(LogUnavailable):
                await asyncio.wrap_future(intake.submit("acme", [event]))
            (told,) = await asyncio.wrap_future(intake.submit("acme", [event]))
            assert isinstance(told, Appended)
            assert told.duplicate
        assert cut.cuts == CUTS
        assert len(read_stream(case.log, stream_id("acme", "user/1"))) == CUTS
        await asyncio.to_thread(intake.close)
        await asyncio.to_thread(log.database.close)


async def test_an_event_is_decided_once_when_the_handlers_commit_was_not_told(
    house: Theatre, sockets: Path
) -> None:
    async with play(house) as case, severing(case.conninfo, sockets) as cut:
        case.append()
        log = await asyncio.to_thread(log_of, cut.conninfo)
        cut.cut_at = {1}
        with pytest.raises(LogUnavailable):
            await asyncio.to_thread(_handle, log)
        while await asyncio.to_thread(_handle, log):
            pass
        assert (cut.cuts, case.topics()) == (1, ["requested"])
        await asyncio.to_thread(log.database.close)


def _handle(log: Log) -> int:
    return handle_batch(log, lambda: datetime.now(UTC), Deployment())


@pytest.mark.parametrize("commit", [1, 2, 3], ids=["first intent", "second intent", "outcome"])
@pytest.mark.parametrize("channel", ["email", "sms"])
async def test_a_message_goes_out_once_when_a_workers_commit_was_not_told(
    house: Theatre, sockets: Path, channel: str, commit: int
) -> None:
    async with play(house, channel) as case, severing(case.conninfo, sockets) as cut:
        case.append()
        case.decide()
        cut.cut_at = {commit}
        worker = await case.spawn("worker", TIDINGS_DATABASE_URL=cut.conninfo)
        await until(case.is_over)
        await end(worker)
        assert cut.cuts == 1
        assert (case.copies(), case.topics().count("outcome.unknown"), case.topics()[-1]) == (1, 0, "sent")


async def test_a_new_code_goes_out_soon_when_listening_connections_are_cut(house: Theatre) -> None:
    async with play(house) as case:
        processes = [await case.spawn(role) for role in ("handler", "worker")]
        await asyncio.gather(*(one.ready.wait() for one in processes))
        await until(lambda: _listeners(case) == [(True,), (True,)])
        began = asyncio.get_running_loop().time()
        case.append()
        await until(lambda: case.copies() == 1)
        # Each of the two may have missed its wake-up and waits for its poll.
        assert asyncio.get_running_loop().time() - began < len(processes) * 1.0 + 1.0
        for one in processes:
            await end(one)


def _listeners(case: Play) -> list[tuple[bool]]:
    """Cut them all; whether each was."""
    with psycopg.connect(case.conninfo, autocommit=True) as connection:
        return connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        ).fetchall()
