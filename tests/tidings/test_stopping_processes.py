"""Signals to real processes: what a worker finishes, records and gives back, and when it does not wait."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from event_log.due_queue import Claim
from event_log.log import Log
from notification_domain.notification_events import Aftermath, OutcomeUnknown
from tests.claims import claim
from tests.conftest import Clock
from tests.story import Story
from tests.tidings.worker_processes import Started, started
from tests.workers.misbehaving_smtp import MisbehavingSmtp, Script, misbehaving_smtp
from tidings.listening import free_port
from tidings.settings import Settings
from tidings.up import plans_for

pytestmark = pytest.mark.timeout(90)

ONE_AT_ONCE = {"SMTP__CONNECTIONS": "1", "WORKERS__LEASE_PERIOD": "10m", "WORKERS__PROCESSES": "1"}
"""Whatever others can take at once was given back."""
TRANSMITTING = ["NotificationRequested", "AttemptStarted", "TransmissionStarted"]


class Scene:
    """Three codes are due, and one of them is in transmission."""

    def __init__(self, story: Story, server: MisbehavingSmtp, process: Started) -> None:
        self.story = story
        self.server = server
        self.process = process

    def tell(self, number: signal.Signals) -> None:
        self.process.process.send_signal(number)

    async def gives_two_back(self) -> None:
        await self.process.until(lambda: self.leases().count(None) == 2)

    def leases(self) -> list[int | None]:
        return [token for (token,) in self.story.rows("due_notifications", "lease_token")]

    def claims(self) -> list[int]:
        return [claims for (claims,) in self.story.rows("due_notifications", "claims")]

    def topics(self) -> list[str]:
        """What happened to the notification that was transmitted."""
        begun = [one.id for one in self.story.decisions() if len(self.story.facts(one.id)) > len("ab")]
        (only,) = begun
        return [type(fact).__name__ for fact in self.story.facts(only)]

    def last(self) -> object:
        return next(
            facts[-1] for one in self.story.decisions() if len(facts := self.story.facts(one.id)) > len("ab")
        )

    def claim(self) -> list[Claim]:
        with self.story.log.database.connection() as connection:
            return claim(connection.cursor(), self.story.clock(), channels=["email"])


@asynccontextmanager
async def transmitting(
    story: Story, directory: Path, *words: str, reply: str = "hang", **settings: str
) -> AsyncIterator[Scene]:
    for user in ("ann", "bob", "cat"):
        story.add_user(user)
        story.ask_for_code(user)
    story.handle()
    script = Script(at={"dot": ("wait", b"250 2.0.0 queued\r\n") if reply == "wait" else ("hang",)})
    async with misbehaving_smtp(script) as server:
        conninfo = story.log.database.conninfo
        async with started(directory, conninfo, server.port, *words, **(ONE_AT_ONCE | settings)) as process:
            scene = Scene(story, server, process)
            await process.until(server.hanging.is_set)
            yield scene


@pytest.fixture
def story(log: Log, clock: Clock) -> Story:
    return Story(log, clock)


async def test_what_is_in_transmission_is_finished_and_all_else_given_back_at_once(
    story: Story, tmp_path: Path
) -> None:
    async with transmitting(story, tmp_path, "worker", reply="wait") as scene:
        scene.tell(signal.SIGTERM)
        await scene.gives_two_back()
        assert len(scene.claim()) == 2
        scene.server.go_on.set()
        assert await scene.process.ends() == 0
    assert scene.topics() == [*TRANSMITTING, "NotificationSent"]
    assert scene.claims() == [1, 1]
    assert len(scene.server.bodies) == 1


async def test_what_is_still_in_transmission_when_the_time_is_over_is_recorded_as_unknown(
    story: Story, tmp_path: Path
) -> None:
    async with transmitting(story, tmp_path, "worker", WORKERS__STOP_TIMEOUT="300ms") as scene:
        scene.tell(signal.SIGTERM)
        assert await scene.process.ends() == 0
    assert scene.topics() == [*TRANSMITTING, "OutcomeUnknown"]
    doubt = scene.last()
    assert isinstance(doubt, OutcomeUnknown)
    assert (doubt.stage, doubt.aftermath) == ("process", Aftermath.RESEND)
    assert scene.leases() == [None, None, None]
    assert scene.claims() == [0, 0, 0]


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once_and_its_lease_stands(
    story: Story, tmp_path: Path, second: signal.Signals
) -> None:
    async with transmitting(story, tmp_path, "worker", WORKERS__STOP_TIMEOUT="10m") as scene:
        scene.tell(signal.SIGTERM)
        await scene.gives_two_back()
        scene.tell(second)
        assert await scene.process.ends(within=3) == -second
    assert scene.topics() == TRANSMITTING
    assert len([token for token in scene.leases() if token]) == 1
    assert len(scene.claim()) == 2


async def test_everything_passes_the_signal_on_and_waits_for_its_worker(story: Story, tmp_path: Path) -> None:
    port = str(free_port("127.0.0.1"))
    async with transmitting(story, tmp_path, "up", reply="wait", PORT=port) as scene:
        scene.tell(signal.SIGTERM)
        await scene.gives_two_back()
        scene.server.go_on.set()
        assert await scene.process.ends(within=20) == 0
    assert scene.topics() == [*TRANSMITTING, "NotificationSent"]
    assert "killed" not in scene.process.said()


async def test_everything_ends_at_once_at_a_second_signal(story: Story, tmp_path: Path) -> None:
    port = str(free_port("127.0.0.1"))
    async with transmitting(story, tmp_path, "up", PORT=port, WORKERS__STOP_TIMEOUT="10m") as scene:
        scene.tell(signal.SIGTERM)
        await scene.gives_two_back()
        scene.tell(signal.SIGINT)
        await scene.process.ends(within=5)
        async with asyncio.timeout(5):
            await scene.server.everyone_left()
    assert scene.topics() == TRANSMITTING


def test_everything_waits_for_a_worker_longer_than_the_worker_waits(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, workers={"stop_timeout": "2m"})  # type: ignore[arg-type]  # as in the file
    with socket.socket() as door:
        (worker,) = [
            plan for wave in plans_for(settings, "", door) for plan in wave if plan.name == "worker-1"
        ]
    assert worker.patience > timedelta(minutes=2).total_seconds()
