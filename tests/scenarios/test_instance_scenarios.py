"""Instances that are quiet, new, or more than anybody remembers."""

from __future__ import annotations

import pytest

from tests.story import ORIGIN
from tests.workers.conftest import Office, until


def ask_for_code(office: Office, instance: str) -> None:
    office.story.tell("user.human.added", "user/u", instance=instance, email=f"u@{instance}.example")
    office.story.tell(
        "user.human.email.code.added",
        "user/u",
        instance=instance,
        code="K7XQ2M",
        expiry=3600,
        trigger_origin=ORIGIN,
    )
    office.story.handle()


async def served(office: Office) -> list[str]:
    return [mail["to"][0].partition("@")[2].partition(".")[0] for mail in await office.messages()]


@pytest.mark.parity("S3.3", "S3.a")
async def test_a_quiet_instance_is_served_after_a_restart(office: Office) -> None:
    ask_for_code(office, "quiet")
    office.clock.move(minutes=30)  # longer than anybody is remembered
    async with office.working(poll=3600.0, max_active_instances=1):
        await until(lambda: not office.busy())
    assert await served(office) == ["quiet"]


@pytest.mark.parity("S1.HandleActiveInstances", "S3.b")
async def test_an_instance_that_appears_later_is_served_by_a_worker_that_never_met_it(
    office: Office,
) -> None:
    ask_for_code(office, "first")
    async with office.working():
        await until(lambda: not office.busy())
        ask_for_code(office, "later")
        await until(lambda: not office.busy())
    assert await served(office) == ["first", "later"]


@pytest.mark.parity("S3.4", "S3.a")
async def test_a_bound_on_what_is_remembered_drops_no_instance(office: Office) -> None:
    names = [f"i{number}" for number in range(6)]
    for name in names:
        ask_for_code(office, name)
    await office.deliver(max_active_instances=2, claim_batch=1, in_flight=1)
    assert sorted(await served(office)) == names
