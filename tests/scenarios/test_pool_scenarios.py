"""What the worker pool that we come from promises, seen from outside."""

from __future__ import annotations

import logging

import pytest

from event_log.envelope import SourceEvent
from notification_domain.notification_events import NotificationRequested, RetryRequested
from tests.story import ORIGIN
from tests.workers.conftest import Office, Watched, notification_of, until
from tests.workers.gates import Gate

FOR_EVER = 1000
AN_HOUR = 3600.0


def ask_for_codes(office: Office, *users: str) -> None:
    for user in users:
        office.story.add_user(user)
        office.story.ask_for_code(user)
    office.story.handle()


@pytest.mark.parity("S1.1")
async def test_the_handler_leaves_a_notification_for_each_trigger_and_sends_nothing(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code()
    office.story.tell("user.human.password.changed", trigger_origin=ORIGIN)
    office.story.handle()
    decided = [one.fact for one in office.story.decisions()]
    assert [type(fact) for fact in decided] == [NotificationRequested, NotificationRequested]
    assert office.story.count("due_notifications") == 2
    assert await office.messages() == []


@pytest.mark.parity("S1.3", "S1.15")
async def test_a_worker_looks_up_recipient_and_texts_when_it_sends(office: Office) -> None:
    office.story.add_user(display_name="Ann Öst")
    office.story.ask_for_code()
    office.story.handle()
    assert "ann@example.com" not in repr(office.story.request())
    office.story.tell("user.human.email.changed", email="new@example.com")
    office.story.tell("user.human.profile.changed", display_name="Ann West")
    await office.deliver()
    (mail,) = await office.messages()
    assert mail["to"] == ["new@example.com"]
    assert "Hello Ann West," in mail["text"]
    assert "K7XQ2M" in mail["text"]
    assert f"{ORIGIN}/" in mail["html"]


@pytest.mark.parity("S1.4", "WRK-4")
async def test_a_retry_holds_all_that_was_known_of_the_user(office: Office) -> None:
    office.story.add_user(
        first_name="Ann",
        last_name="Öst",
        nick_name="Annie",
        display_name="Ann Öst",
        preferred_language="de",
        encoded_hash="x",
        organisation_id="org-1",
    )
    office.story.tell("user.human.email.verified")
    office.story.tell("user.human.email.changed", email="newer@example.com")
    office.story.ask_for_code()
    await office.web.set_fault("email", "rcpt", "refuse", code=451)
    await office.deliver()
    retry = office.last()
    assert isinstance(retry, RetryRequested)
    snapshot = retry.recipient
    assert snapshot is not None
    assert (snapshot.user_name, snapshot.display_name) == ("ann", "Ann Öst")
    assert (snapshot.first_name, snapshot.last_name, snapshot.nick_name) == ("Ann", "Öst", "Annie")
    assert (snapshot.last_email, snapshot.verified_email) == ("newer@example.com", "ann@example.com")
    assert (snapshot.last_phone, snapshot.verified_phone) == ("+41791234567", "")
    assert (snapshot.preferred_language, snapshot.password_set) == ("de", True)
    assert (snapshot.state, snapshot.organisation_id) == ("active", "org-1")


@pytest.mark.parity("S1.9", "S1.BulkLimit")
async def test_one_round_takes_no_more_than_the_bulk_limit(office: Office) -> None:
    ask_for_codes(office, "ann", "bob", "cat", "dan", "eve")
    gate = Gate()
    async with office.working(office.routes(gate.wrap), claim_batch=2, in_flight=3):
        await gate.reached.wait()
        leases = [token for (token,) in office.story.rows("due_notifications", "lease_token")]
        assert len([token for token in leases if token is not None]) == 2
        gate.open.set()
        await until(lambda: not office.busy())
    assert len(await office.messages()) == 5


@pytest.mark.parity("S1.9", "S1.RequeueEvery", "S1.10")
async def test_rounds_repeat_after_their_pause_without_a_wake_up(office: Office) -> None:
    routes = Watched(office.routes())
    async with office.working(routes, poll=0.02, retry_in_flight=0):
        await until(lambda: routes.looks > 0)
        office.clock.move(seconds=1)  # so that the first look cannot have found what comes now
        ask_for_codes(office, "ann")
        await until(lambda: office.topics()[-1] == "NotificationSent")


@pytest.mark.parity("S1.RetryRequeueEvery")
async def test_rounds_of_retries_repeat_after_a_pause_of_their_own(office: Office) -> None:
    ask_for_codes(office, "ann")
    await office.web.set_fault("email", "rcpt", "refuse", code=451)
    async with office.working(poll=AN_HOUR, retry_poll=0.02) as worker:
        await until(lambda: "RetryRequested" in office.topics() and not worker._under_way)
        office.clock.move(minutes=2)
        await until(lambda: office.topics()[-1] == "NotificationSent")


@pytest.mark.parity("S1.10")
async def test_what_is_due_at_the_start_is_taken_at_once(office: Office) -> None:
    ask_for_codes(office, "ann")
    async with office.working(poll=AN_HOUR, retry_poll=AN_HOUR):
        await until(lambda: office.topics()[-1] == "NotificationSent")


@pytest.mark.parity("S1.12", "S1.b")
async def test_one_that_fails_takes_none_of_its_neighbours_along(office: Office) -> None:
    ask_for_codes(office, "ann", "bob", "cat")
    office.story.add_user("dan")
    office.story.ask_for_code("dan", url_template="https://x.example/{{.Nonsense}}")
    await office.web.set_fault("email", "rcpt", "refuse", code=451)
    await office.deliver(claim_batch=4)
    ends = sorted(office.topics(one.id)[-1] for one in office.story.decisions())
    assert ends == ["NotificationCancelled", "NotificationSent", "NotificationSent", "RetryRequested"]
    office.clock.move(minutes=2)
    await office.deliver()
    assert len(await office.messages()) == 3


@pytest.mark.parity("S1.MaxAttempts", "S1.13")
async def test_the_only_attempt_ends_it_when_one_is_all_it_has(office: Office) -> None:
    ask_for_codes(office, "ann")
    await office.web.set_fault("email", "rcpt", "refuse", code=451)
    await office.deliver(policies={"email": office.policy(max_attempts=1)})
    assert office.topics()[1:] == ["AttemptStarted", "NotificationCancelled"]
    assert office.last().error.startswith("451")


@pytest.mark.parity("S1.7", "S1.16", "S1.c", "WRK-11")
async def test_sent_and_its_write_back_are_one_transaction(office: Office) -> None:
    office.story.add_user(organisation_id="org-1")
    office.story.ask_for_code()
    await office.deliver()
    told = {"notification.sent", "user.human.email.code.sent"}
    written = {topic: by for topic, by in office.story.rows("events", "topic, xmin::text") if topic in told}
    assert written.keys() == told
    assert len(set(written.values())) == 1


@pytest.mark.parity("S1.18")
async def test_what_has_no_origin_is_given_up_without_an_attempt(office: Office) -> None:
    office.story.add_user()
    office.story.ask_for_code(trigger_origin="")
    await office.deliver()
    assert office.topics() == ["NotificationRequested", "NotificationCancelled"]
    assert (office.last().reason, office.last().attempt) == ("no_origin", 0)


@pytest.mark.parity("S1.g")
async def test_a_trigger_by_its_old_name_is_delivered_and_written_back(office: Office) -> None:
    office.story.add_user()
    office.story.tell("user.email.code.added", code="K7XQ2M", expiry=3600, trigger_origin=ORIGIN)
    await office.deliver()
    assert len(await office.messages()) == 1
    assert office.story.source_types()[-1] == "user.human.email.code.sent"


@pytest.mark.parity("S1.g")
async def test_an_invitation_is_written_back_under_its_own_user_and_organisation(office: Office) -> None:
    office.story.add_user(organisation_id="org-1")
    office.story.tell("user.human.invite.code.added", code="WELCOME", expiry=3600, trigger_origin=ORIGIN)
    await office.deliver()
    (sent,) = [event.fact for event in office.story.events(ours=False) if event.topic.endswith(".sent")]
    assert isinstance(sent, SourceEvent)
    assert (sent.subject, sent.data["organisation_id"]) == ("user/ann", "org-1")


@pytest.mark.parity("S1.g")
async def test_no_code_or_address_is_in_the_programs_log(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        office.story.add_user()
        office.story.ask_for_code()
        office.story.tell("user.human.phone.code.added", code="PHONE77", expiry=3600, trigger_origin=ORIGIN)
        office.story.ask_for_code(code="BROKEN7", url_template="https://x.example/{{.Nonsense}}")
        await office.web.set_fault("email", "rcpt", "refuse", code=550)
        await office.deliver()
    for secret in ("K7XQ2M", "PHONE77", "BROKEN7", "ann@example.com", "+41791234567"):
        assert secret not in caplog.text


@pytest.mark.parity("S1.14", "S1.d", "WRK-5")
async def test_the_age_counts_from_the_request_however_often_it_is_tried(office: Office) -> None:
    ask_for_codes(office, "ann")
    await office.web.set_fault("email", "rcpt", "refuse", code=451, count=FOR_EVER)
    policy = office.policy(max_attempts=100, min_delay=600.0, max_delay=600.0)
    for _ in range(6):
        await office.deliver(policy=policy)
        office.clock.move(minutes=11)
    await office.deliver(policy=policy)
    assert office.topics()[-1] == "NotificationCancelled"
    assert office.last().reason == "expired"
    assert office.topics().count("AttemptStarted") == 6


@pytest.mark.parity("S1.h")
async def test_what_nobody_looked_at_in_time_still_gets_its_cancellation(office: Office) -> None:
    ask_for_codes(office, "ann")
    office.clock.move(days=400)
    await office.deliver()
    assert office.topics() == ["NotificationRequested", "NotificationCancelled"]
    assert office.last().reason == "expired"
    assert await office.messages() == []


@pytest.mark.parity("WRK-13")
async def test_a_refusal_is_recorded_though_its_user_is_gone_by_then(office: Office) -> None:
    ask_for_codes(office, "ann")
    await office.web.set_fault("email", "dot", "refuse", code=550)
    gate = Gate(after=True)
    async with office.working(office.routes(gate.wrap)):
        await gate.reached.wait()
        office.story.tell("user.removed")
        office.story.handle()
        gate.open.set()
        await until(lambda: not office.busy())
    assert (office.last().reason, office.last().stage) == ("rejected", "dot")
    assert office.story.source_types()[-1] == "user.removed"


@pytest.mark.parity("WRK-10", "WRK-14")
async def test_an_error_is_recorded_as_it_came_and_the_source_hears_nothing(office: Office) -> None:
    ask_for_codes(office, "ann")
    before = office.story.source_types()
    await office.web.set_fault("email", "rcpt", "refuse", code=451)
    await office.deliver()
    assert isinstance(office.last(), RetryRequested)
    assert office.last().error == "451 4.0.0 Refused at rcpt, as asked"
    assert office.story.source_types() == before


@pytest.mark.parity("S1.11", "S2.10")
async def test_only_the_newest_retry_of_a_notification_counts(office: Office) -> None:
    ask_for_codes(office, "ann")
    await office.web.set_fault("email", "rcpt", "refuse", code=451, count=2)
    await office.deliver()
    office.clock.move(seconds=91)
    await office.deliver()
    assert office.story.count("due_notifications") == 1
    office.clock.move(seconds=91)  # the first retry's time is long over, the second's is not
    await office.deliver()
    assert office.topics(notification_of("2")).count("AttemptStarted") == 2
    office.clock.move(seconds=45)
    await office.deliver()
    assert office.topics()[-1] == "NotificationSent"
