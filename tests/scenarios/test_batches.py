"""What a worker takes at a time, and what becomes of the messages that were taken together."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection

import pytest

from notification_domain.notification_events import NotificationCancelled, Reason, RetryRequested
from notification_domain.outcomes import Outcome
from tests.workers.conftest import Office, until
from tests.workers.gates import Gate
from workers.channels.port import Channel, Mail, Message, PointOfNoReturn
from workers.routes import FixedRoutes, Route

FOR_EVER = 1000
SENT = "NotificationSent"


def ask_for_codes(office: Office, *users: str) -> None:
    for user in users:
        office.story.add_user(user)
        office.story.ask_for_code(user)
    office.story.handle()


def ends(office: Office) -> Counter[str]:
    """How many notifications stand where."""
    return Counter(office.topics(one.id)[-1] for one in office.story.decisions())


def leased(office: Office) -> int:
    return sum(token is not None for (token,) in office.story.rows("due_notifications", "lease_token"))


async def receivers(office: Office) -> list[str]:
    return sorted(to for mail in await office.messages(limit="100") for to in mail["to"])


class Line:
    """A channel that counts how many messages it has at once, and keeps those for one person back."""

    def __init__(self, *, slow: str = "", together: int = 0) -> None:
        self.at_once = 0
        self.most_at_once = 0
        self.open = asyncio.Event()
        self._slow = slow
        self._together = together

    def wrap(self, channel: Channel) -> Channel:
        return _Counted(channel, self)

    async def pass_through(self, recipient: str) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        if self.at_once == self._together:
            self.open.set()
        if self._together or recipient == self._slow:
            await self.open.wait()
        self.at_once -= 1


class _Counted:
    def __init__(self, channel: Channel, line: Line) -> None:
        self.provider = channel.provider
        self.at_once = 50
        self._channel = channel
        self._line = line

    async def deliver(self, message: Message, begin: PointOfNoReturn) -> Outcome | None:
        await self._line.pass_through(message.recipient)
        return await self._channel.deliver(message, begin)

    async def close(self) -> None:
        await self._channel.close()


# --- what is taken --------------------------------------------------------------------------------


@pytest.mark.parity("S5.2", "S6.1")
async def test_what_is_due_goes_out_at_the_start_and_the_rest_with_the_next_look(office: Office) -> None:
    ask_for_codes(office, "ann")
    async with office.working(poll=0.2):
        await until(lambda: ends(office) == {SENT: 1}, within=5)
        ask_for_codes(office, "bob")
        await until(lambda: ends(office) == {SENT: 2}, within=5)


@pytest.mark.parity("S5.2", "S6.1")
async def test_what_is_due_at_the_start_does_not_wait_for_the_first_pause(office: Office) -> None:
    ask_for_codes(office, "ann")
    async with office.working(poll=3600.0):
        await until(lambda: ends(office) == {SENT: 1}, within=5)


class Stumbling(FixedRoutes):
    """Has a bug that shows once."""

    stumbled = False

    def refresh(self, wanted: Collection[tuple[str, str]]) -> None:
        super().refresh(wanted)
        if not self.stumbled:
            self.stumbled = True
            raise ArithmeticError


@pytest.mark.parity("S1.10", "S5.2", "S6.1")
async def test_a_worker_goes_on_after_a_round_that_failed(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    ask_for_codes(office, "ann")
    async with office.working(Stumbling(office.routes())):
        await until(lambda: "a round failed" in caplog.text)
        office.lose_leases()
        await until(lambda: ends(office) == {SENT: 1})


@pytest.mark.parity("S5.3", "S6.2")
async def test_a_claim_takes_no_more_than_its_share_and_leaves_the_rest_to_others(office: Office) -> None:
    ask_for_codes(office, "ann", "bob", "cat", "dan", "eve")
    gate = Gate()
    async with office.working(office.routes(gate.wrap), claim_batch=2, in_flight=2, poll=60):
        await gate.reached.wait()
        assert leased(office) == 2
        async with office.working():
            await until(lambda: ends(office)[SENT] == 3)
        assert leased(office) == 2, "nobody else took what is leased"
        gate.open.set()
    assert await receivers(office) == [f"{name}@example.com" for name in ("ann", "bob", "cat", "dan", "eve")]


@pytest.mark.parity("S5.6", "S6.b")
async def test_what_was_taken_together_is_delivered_at_the_same_time(office: Office) -> None:
    ask_for_codes(office, "ann", "bob", "cat")
    line = Line(together=3)
    await office.deliver(office.routes(line.wrap))
    assert line.most_at_once == 3
    assert ends(office) == {SENT: 3}


@pytest.mark.parity("S5.6", "S5.d", "S6.b")
async def test_one_slow_target_holds_nobody_else_up(office: Office) -> None:
    ask_for_codes(office, "ann", "bob")
    line = Line(slow="ann@example.com")
    async with office.working(office.routes(line.wrap), claim_batch=2, in_flight=4):
        await until(lambda: ends(office)[SENT] == 1)
        ask_for_codes(office, "cat", "dan")
        await until(lambda: ends(office)[SENT] == 3)
        assert line.at_once == 1
        line.open.set()
    assert ends(office) == {SENT: 4}


# --- what becomes of each -------------------------------------------------------------------------


@pytest.mark.parity("S5.7", "LSE-1")
async def test_a_failure_is_the_result_of_its_message_alone(office: Office) -> None:
    await office.web.set_fault("email", "rcpt", "refuse", code=451, to="bob@example.com")
    ask_for_codes(office, "ann", "bob")
    await office.deliver()
    assert ends(office) == {SENT: 1, "RetryRequested": 1}
    assert await receivers(office) == ["ann@example.com"]


@pytest.mark.parity("S1.18", "S5.4", "S5.5")
async def test_what_cannot_be_prepared_ends_at_once_and_the_others_go_out(office: Office) -> None:
    office.story.add_user("bob")
    office.story.ask_for_code("bob", url_template="https://x.example/{{.Nonsense}}")
    ask_for_codes(office, "ann", "cat")
    await office.deliver()
    assert ends(office) == {SENT: 2, "NotificationCancelled": 1}
    (ended,) = [
        fact
        for one in office.story.decisions()
        for fact in office.story.facts(one.id)
        if isinstance(fact, NotificationCancelled)
    ]
    assert (ended.reason, ended.attempt) == (Reason.TEMPLATE_ERROR, 0)


@pytest.mark.parity("S5.13", "S6.6", "LSE-2")
async def test_the_results_are_counted_exactly_when_only_the_last_attempt_succeeds(office: Office) -> None:
    await office.web.set_fault("email", "rcpt", "refuse", code=451, count=10)
    ask_for_codes(office, "ann", "bob", "cat", "dan", "eve")
    for _ in range(3):
        await office.deliver()
        office.clock.move(minutes=10)
    assert ends(office) == {SENT: 5}
    topics = Counter(topic for one in office.story.decisions() for topic in office.topics(one.id))
    assert topics["RetryRequested"] == 10
    assert topics["AttemptStarted"] == 15
    assert len(await office.messages()) == 5


@pytest.mark.parity("S6.3")
async def test_a_long_look_does_not_use_up_all_attempts_at_once(office: Office) -> None:
    ask_for_codes(office, "ann")
    await office.web.set_fault("email", "rcpt", "refuse", code=451, count=FOR_EVER)
    async with office.working():
        await until(lambda: isinstance(office.last(), RetryRequested))
        ask_for_codes(office, "bob")  # as many more looks as it takes to refuse another message
        await until(lambda: ends(office) == {"RetryRequested": 2})
    assert [office.topics(one.id).count("AttemptStarted") for one in office.story.decisions()] == [1, 1]


@pytest.mark.parity("S6.c")
async def test_each_message_has_one_recipient_and_a_bad_address_decides_for_itself(office: Office) -> None:
    seen: list[str] = []

    class Noting:
        def __init__(self, channel: Channel) -> None:
            self.provider, self.at_once, self._channel = channel.provider, channel.at_once, channel

        async def deliver(self, message: Message, begin: PointOfNoReturn) -> Outcome | None:
            if isinstance(message, Mail):
                seen.append(message.recipient)
            return await self._channel.deliver(message, begin)

        async def close(self) -> None:
            await self._channel.close()

    await office.web.set_fault("email", "rcpt", "refuse", code=550, to="bob@example.com")
    ask_for_codes(office, "ann", "bob", "cat")
    await office.deliver(office.routes(Noting))
    assert sorted(seen) == ["ann@example.com", "bob@example.com", "cat@example.com"]
    assert ends(office) == {SENT: 2, "NotificationCancelled": 1}
    assert [mail["to"] for mail in await office.messages()] in (
        [["ann@example.com"], ["cat@example.com"]],
        [["cat@example.com"], ["ann@example.com"]],
    )


# --- what the log lines say -----------------------------------------------------------------------


class Broken:
    provider = "broken"
    at_once = 1

    async def deliver(self, message: Message, begin: PointOfNoReturn) -> Outcome | None:  # noqa: ARG002
        raise ArithmeticError

    async def close(self) -> None:
        pass


@pytest.mark.parity("S5.1", "S6.10")
async def test_a_line_of_the_log_names_the_notification_its_lease_and_its_channel(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    ask_for_codes(office, "ann")
    routes = office.routes()
    async with office.working(routes | {"email": Route(Broken(), routes["email"].sender)}):
        await until(lambda: "delivery of" in caplog.text)
    await routes["email"].channel.close()
    said = f"delivery of {office.only()} by email (attempt 1, lease {office.last().lease_token}) failed"
    assert said in caplog.text
