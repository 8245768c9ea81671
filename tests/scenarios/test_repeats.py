"""What arrives twice although it happened once, and what happens twice on purpose."""

from __future__ import annotations

import pytest

from event_log.commands import Done, Order, resend
from event_log.intake import Appended, CallerEvent, append
from tests.story import ORIGIN
from tests.workers.conftest import Office


def tell(office: Office, event_id: str) -> Appended:
    event = CallerEvent(
        source="auth",
        id=event_id,
        type="user.human.password.changed",
        subject="user/ann",
        data={"trigger_origin": ORIGIN},
    )
    (answer,) = append(office.log, "acme", [event])
    assert isinstance(answer, Appended)
    return answer


@pytest.mark.parity("S5.14", "S6.d", "LSE-8")
async def test_one_event_is_one_message_however_often_and_late_it_is_told(office: Office) -> None:
    office.story.add_user()
    assert not tell(office, "changed-1").duplicate
    assert tell(office, "changed-1").duplicate
    await office.deliver()
    office.clock.move(hours=25)
    assert tell(office, "changed-1").duplicate
    await office.deliver()
    assert len(await office.messages()) == 1


@pytest.mark.parity("LSE-8")
async def test_a_second_copy_that_is_wanted_goes_out_the_same_day(office: Office) -> None:
    office.story.add_user()
    tell(office, "changed-1")
    await office.deliver()
    tell(office, "changed-2")
    await office.deliver()
    first, _ = office.story.decisions()
    order = Order(first.id, "acme", "a test", "key-1")
    assert isinstance(resend(office.log, order, office.clock(), office.story.deployment), Done)
    await office.deliver()
    assert len(await office.messages()) == 3
