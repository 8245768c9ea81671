"""Answers that come when the attempt is no longer the worker's own to end."""

from __future__ import annotations

from datetime import timedelta

import pytest

from event_log import commands, feedback
from event_log.callbacks import Reference
from notification_domain.notification_events import Aftermath, FeedbackReceived, NotificationCancelled
from notification_domain.outcomes import Deferred, Delivered, Outcome, Rejected, Unknown
from tests.story import ORIGIN
from tests.workers.conftest import Office, until
from tests.workers.gates import Gate


async def _invite(office: Office) -> None:
    office.story.add_user()
    office.story.tell("user.human.invite.code.added", code="WELCOME", expiry=3600, trigger_origin=ORIGIN)
    office.story.handle()


async def test_a_reply_after_the_lease_ends_a_doubt_that_somebody_else_recorded(office: Office) -> None:
    await _invite(office)
    gate = Gate(after=True)
    async with office.working(office.routes(gate.wrap), lease=timedelta(hours=1)):
        await gate.reached.wait()  # the server has taken it, and the worker does not know yet
        office.lose_leases()
        await office.deliver()
        assert office.last().aftermath is Aftermath.PARK
        gate.open.set()
        await until(lambda: office.topics()[-1] == "NotificationSent")
    assert office.topics()[-3:] == ["OutcomeUnknown", "FeedbackReceived", "NotificationSent"]
    heard = office.story.facts(office.only())[-2]
    assert isinstance(heard, FeedbackReceived)
    assert (heard.status, heard.standing) == (feedback.LATE_REPLY, "accepted")
    assert heard.error.startswith("250")
    assert len(await office.messages()) == 1


async def test_a_reply_after_an_operators_ending_is_kept_and_changes_nothing(office: Office) -> None:
    await _invite(office)
    gate = Gate(after=True)
    async with office.working(office.routes(gate.wrap), lease=timedelta(hours=1)):
        await gate.reached.wait()
        office.lose_leases()
        await office.deliver()
        order = commands.Order(office.only(), "acme", "they came by", "an operator")
        commands.resolve(office.log, order, office.clock(), "cancelled")
        gate.open.set()
        await until(lambda: office.topics()[-1] == "FeedbackReceived")
    assert isinstance(office.story.facts(office.only())[-2], NotificationCancelled)


async def test_the_same_late_reply_is_recorded_once(office: Office) -> None:
    await _invite(office)
    await office.deliver()
    report = feedback.late_reply(Rejected("dot", "550 no such user"))
    assert report is not None
    for _ in range(2):
        feedback.hear(office.log, Reference(office.only(), 1), report)
    assert office.topics()[-2:] == ["NotificationSent", "FeedbackReceived"]


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (Delivered("id-1", "250 ok"), ("accepted", "250 ok", "id-1")),
        (Rejected("dot", "550 no"), ("failed", "550 no", "")),
        (Deferred("dot", "450 later"), None),
        (Unknown("dot", "cut"), None),
    ],
)
def test_a_late_reply_tells_only_what_is_for_good(
    outcome: Outcome, says: tuple[str, str, str] | None
) -> None:
    report = feedback.late_reply(outcome)
    told = report and (report.standing.value, report.error, report.provider_message_id)
    assert told == says
