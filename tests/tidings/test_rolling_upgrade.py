"""An older and a newer version side by side on one database: the older leaves alone what it does not know."""

from __future__ import annotations

import re
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from event_log.log import Log
from projections.following import trailing_round
from projections.history import History
from tests.conftest import Clock
from tests.story import Story
from tests.tidings.newer_code import NEW_BODY, NEW_EVENT, Patch, newer_tree
from tests.tidings.worker_processes import ROOT, Started, started
from tests.workers.misbehaving_smtp import MisbehavingSmtp, Script, misbehaving_smtp

pytestmark = pytest.mark.timeout(180)

FIRST, SECOND, THIRD = range(20), range(20, 26), range(26, 32)
ALL = len(FIRST) + len(SECOND) + len(THIRD)
WORKER = {
    "SMTP__CONNECTIONS": "4",
    "WORKERS__WORKERS": "4",
    "WORKERS__RETRY_WORKERS": "4",
    "WORKERS__BULK_LIMIT": "2",
    # Only what is given back can be had by others, and one lost claim too many parks it.
    "WORKERS__LEASE_PERIOD": "10m",
    "WORKERS__MAX_CLAIMS": "2",
    "WORKERS__MAX_ATTEMPTS": "1000",
    "WORKERS__MIN_RETRY_DELAY": "300ms",
    "WORKERS__MAX_RETRY_DELAY": "600ms",
}
BUSY = Script(at={"rcpt": (b"451 4.2.1 later\r\n",)})
_LEFT_ALONE = re.compile(r"notification ([0-9a-f-]{36}) is left alone")


class Upgrade:
    """The database both versions share, read as it is stored."""

    def __init__(self, story: Story, server: MisbehavingSmtp, directory: Path, newer: Path) -> None:
        self.story = story
        self.server = server
        self._directory = directory
        self._newer = newer

    @asynccontextmanager
    async def running(self, word: str, *, newer: bool) -> AsyncIterator[Started]:
        conninfo = self.story.log.database.conninfo
        tree = self._newer if newer else ROOT
        async with started(self._directory, conninfo, self.server.port, word, tree=tree, **WORKER) as process:
            yield process
            process.process.send_signal(signal.SIGTERM)
            assert await process.ends(within=20) == 0, process.said()

    def ask(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self.story.add_user(f"u{number}")
            self.story.ask_for_code(f"u{number}")
        self.story.handle()
        with self.story.log.appending() as append:
            append.wake("due")

    def streams(self) -> dict[UUID, list[str]]:
        """Topics of every notification; those this version does not know begin with a plus."""
        found: dict[UUID, list[str]] = {}
        for _, stream, topic, schema in self.story.rows(
            "events", "notification_id, originator_id, topic, get_byte(state, 1)"
        ):
            if topic.startswith("notification."):
                new = topic.endswith(".noted") or (topic.endswith("attempt.started") and schema == len("ab"))
                found.setdefault(stream, []).append(f"{'+' if new else ''}{topic}")
        return found

    def unknown(self) -> set[UUID]:
        return {stream for stream, topics in self.streams().items() if any(t[0] == "+" for t in topics)}

    def tried(self) -> int:
        return sum("notification.retry.requested" in topics for topics in self.streams().values())

    def sent(self) -> set[UUID]:
        return {one for one, topics in self.streams().items() if topics[-1] == "notification.sent"}

    def waiting(self) -> list[Any]:
        return list(self.story.rows("due_notifications", "notification_id, lease_token, claims"))

    def history(self) -> dict[UUID, str]:
        return dict(self.story.rows("notifications", "id, state"))


@pytest.fixture
def story(log: Log, clock: Clock) -> Story:
    return Story(log, clock)


@pytest.mark.parametrize("patches", [NEW_EVENT, NEW_BODY], ids=["a new event", "a new body"])
async def test_two_versions_share_the_work_and_the_older_leaves_alone_what_it_does_not_know(
    story: Story, tmp_path: Path, patches: Sequence[Patch]
) -> None:
    newer = newer_tree(tmp_path, patches)
    async with misbehaving_smtp(BUSY) as server, AsyncExitStack() as held:
        upgrade = Upgrade(story, server, tmp_path, newer)
        upgrade.ask(FIRST)
        old = await held.enter_async_context(upgrade.running("worker", newer=False))
        async with upgrade.running("worker", newer=True) as new:
            await new.until(lambda: upgrade.tried() == len(FIRST) and len(upgrade.unknown()) > 5, 40)
            await old.until(lambda: len(left_alone(old)) > 5)
        await the_older_goes_on_alone(upgrade, old)
        async with upgrade.running("worker", newer=True) as new, upgrade.running("handler", newer=True):
            upgrade.ask(THIRD)
            await new.until(lambda: len(upgrade.sent()) == ALL, 40)
            await new.until(lambda: set(upgrade.history().values()) == {"sent"})
            await new.until(lambda: story.count("quarantined_events") == 0)
    assert len(upgrade.history()) == ALL
    assert upgrade.waiting() == []
    assert_each_was_sent_once(server)
    assert_the_older_touched_nothing_unknown(upgrade)


async def the_older_goes_on_alone(upgrade: Upgrade, old: Started) -> None:
    """It delivers what it knows; the rest stays as it is, and can be had by others at once."""
    unknown = upgrade.unknown()
    upgrade.server.script = Script()
    upgrade.ask(SECOND)
    known = upgrade.streams().keys() - unknown
    await old.until(lambda: upgrade.sent() == known, 40)
    await old.until(lambda: left_alone(old) >= unknown)
    await old.until(lambda: upgrade.waiting() == [(one, None, 0) for one in sorted(unknown)])
    while trailing_round(upgrade.story.log, History()):
        pass
    told = upgrade.history()
    assert {told[one] for one in known} == {"sent"}
    assert {told[one] for one in unknown} <= {"waiting", "attempting"}
    assert upgrade.story.count("quarantined_events") >= len(unknown)


def left_alone(process: Started) -> set[UUID]:
    """What it told of in its log."""
    return {UUID(one) for one in _LEFT_ALONE.findall(process.said())}


def assert_each_was_sent_once(server: MisbehavingSmtp) -> None:
    names = [re.findall(rb"(?im)^message-id: *(?:\r\n )?(<[^>]+>)", body) for body in server.bodies]
    assert len(names) == ALL
    assert len({name for (name,) in names}) == ALL


def assert_the_older_touched_nothing_unknown(upgrade: Upgrade) -> None:
    for topics in upgrade.streams().values():
        begun = [n for n, topic in enumerate(topics) if topic.endswith("attempt.started")]
        first = next((n for n, topic in enumerate(topics) if topic[0] == "+"), len(topics))
        by_older = [n for n in begun if n > first and "+" not in topics[n] + topics[n - 1]]
        assert not by_older, topics
        assert "notification.outcome.unknown" not in topics
