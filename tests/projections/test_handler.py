from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from event_log.errors import LostRace
from event_log.log import Log
from notification_domain.notification_events import NotificationDeclined, NotificationRequested, Reason
from notification_domain.policies import Deployment
from notification_domain.triggers import TRIGGERS
from projections.handler import handle_batch
from tests.conftest import Clock
from tests.story import ORIGIN, Story
from tests.swept import swept_database


@pytest.fixture
def conninfo(server: str, template: str) -> str:
    return swept_database(server, template)


@pytest.fixture
def story(log: Log, clock: Clock) -> Story:
    return Story(log, clock)


CODE: dict[str, Any] = {"code": "K7XQ2M", "expiry": 3600}
SESSION = "session/s1"

TRIGGERED: dict[str, tuple[str, dict[str, Any]]] = {
    "user.human.initialization.code.added": ("user/ann", CODE),
    "user.human.email.code.added": ("user/ann", CODE),
    "user.human.password.code.added": ("user/ann", CODE),
    "user.human.phone.code.added": ("user/ann", CODE),
    "user.human.mfa.otp.sms.code.added": ("user/ann", CODE),
    "user.human.mfa.otp.email.code.added": ("user/ann", CODE),
    "session.otp.sms.challenged": (SESSION, CODE),
    "session.otp.email.challenged": (SESSION, CODE),
    "user.domain.claimed": ("user/ann", {"user_name": "ann@temp.example"}),
    "user.human.passwordless.initialization.code.requested": ("user/ann", CODE | {"id": "key-1"}),
    "user.human.password.changed": ("user/ann", {}),
    "user.human.invite.code.added": ("user/ann", CODE),
}
"""Each trigger with a subject and a payload."""


@pytest.fixture(params=TRIGGERED)
def trigger(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def pull(story: Story, trigger: str, **more: Any) -> NotificationRequested:
    subject, data = TRIGGERED[trigger]
    story.tell(trigger, subject, **(data | more))
    story.handle()
    return story.request()


def test_the_table_of_examples_knows_every_trigger() -> None:
    assert TRIGGERED.keys() == {trigger.rule for trigger in TRIGGERS}


@pytest.mark.parity("NOT-1")
def test_one_request_with_the_events_own_origin_is_made_when_it_has_one(story: Story, trigger: str) -> None:
    assert pull(story, trigger, trigger_origin=ORIGIN).origin == ORIGIN  # NOT-1


@pytest.mark.parity("NOT-2")
def test_the_origin_is_the_instances_primary_domain_when_the_event_has_none(
    log: Log, clock: Clock, trigger: str
) -> None:
    story = Story(log, clock, Deployment(external_scheme="http", external_port=8080))
    story.tell("instance.domain.primary.set", "instance", domain="acme.example")
    assert pull(story, trigger).origin == "http://acme.example:8080"  # NOT-2


def test_the_origin_is_empty_when_nobody_knows_one(story: Story, trigger: str) -> None:
    assert pull(story, trigger).origin == ""


@pytest.mark.parity("NOT-3")
def test_a_code_from_an_external_generator_goes_by_sms_without_a_code(story: Story) -> None:
    story.tell(
        "user.human.password.code.added", generatorId="verify-1", notificationType=1, triggerOrigin=ORIGIN
    )
    story.handle()
    request = story.request()  # NOT-3
    assert (request.secret, request.code_expires_at, request.channel) == ("", None, "sms")
    assert request.generator_id == "verify-1"


@pytest.mark.parametrize(
    ("trigger_type", "subject"),
    [("user.human.mfa.otp.sms.code.added", "user/ann"), ("session.otp.sms.challenged", SESSION)],
)
@pytest.mark.parity("NOT-4")
def test_a_challenge_from_an_external_generator_stays_a_one_time_password(
    story: Story, trigger_type: str, subject: str
) -> None:
    story.tell(trigger_type, subject, generatorId="verify-1", triggerOrigin=ORIGIN)
    story.handle()
    request = story.request()  # NOT-4
    assert (request.secret, request.otp, request.channel) == ("", True, "sms")


@pytest.mark.parametrize("medium", ["sms", "email"])
@pytest.mark.parity("NOT-5")
def test_a_session_challenge_is_for_the_sessions_user(story: Story, medium: str) -> None:
    story.add_user()
    story.tell("session.user.checked", SESSION, userID="ann", userResourceOwner="org-1")
    story.tell(f"session.otp.{medium}.challenged", SESSION, code="12345678", expiry=300, triggerOrigin=ORIGIN)
    story.handle()
    request = story.request()  # NOT-5
    assert request.arguments == {"Domain": "login.acme.example", "ExpirySeconds": "300", "SessionID": "s1"}
    assert request.origin == ORIGIN
    assert (request.source.subject, request.source.version) == (SESSION, 2)
    assert (request.user_id, request.organisation_id) == ("ann", "org-1")


@pytest.mark.parametrize("batch", [1, 2, 500])
def test_a_session_challenge_finds_its_user_in_any_batch(story: Story, batch: int) -> None:
    story.tell("session.user.checked", SESSION, userID="ann", userResourceOwner="org-1")
    story.tell("session.otp.email.challenged", SESSION, **CODE)
    story.handle(batch=batch)
    assert story.request().user_id == "ann"


@pytest.mark.parametrize(
    ("subject", "event_type"),
    [
        ("organisation/org-1", "org.policy.notification.added"),
        ("instance", "instance.policy.notification.added"),
    ],
)
@pytest.mark.parity("NOT-6")
def test_a_password_change_is_not_announced_when_the_policy_is_off(
    story: Story, subject: str, event_type: str
) -> None:
    story.tell("user.human.added", email="ann@example.com", organisation_id="org-1")
    story.tell(event_type, subject, passwordChange=False)
    story.tell("user.human.password.changed")
    story.handle()
    assert story.declined().reason is Reason.POLICY_OFF  # NOT-6


@pytest.mark.parity("NOT-7")
def test_a_claimed_domain_carries_the_temporary_name(story: Story) -> None:
    request = pull(story, "user.domain.claimed", trigger_origin=ORIGIN)
    assert request.arguments["TempUsername"] == "ann@temp.example"  # NOT-7


@pytest.mark.parity("NOT-8")
def test_only_one_time_passwords_and_passkeys_ask_for_a_verified_address(story: Story, trigger: str) -> None:
    only_verified = ".otp." in trigger or ".passwordless." in trigger
    assert pull(story, trigger).verified_only is only_verified  # NOT-8


# --- exactly one decision -----------------------------------------------------------------------


def _tell_everything(story: Story) -> None:
    story.add_user()
    for event_type, (subject, data) in TRIGGERED.items():
        story.tell(event_type, subject, **data)


def _rules(story: Story) -> Counter[str]:
    return Counter(decided.fact.rule for decided in story.decisions())


ONCE = Counter(dict.fromkeys(TRIGGERED, 1))


@pytest.mark.parametrize("batch", [1, 3, 500])
def test_each_trigger_is_decided_once_whatever_the_size_of_the_batches(story: Story, batch: int) -> None:
    _tell_everything(story)
    assert story.handle(batch=batch) >= len(TRIGGERED)
    assert _rules(story) == ONCE
    assert story.handle() == 0


@pytest.mark.parity("S1.a")
def test_each_trigger_is_decided_once_when_the_handler_starts_over(story: Story) -> None:
    _tell_everything(story)
    story.handle()
    before = [story.rows(table, "*") for table in ("events", "due_notifications", "secrets")]
    with story.log.database.connection() as connection:
        connection.execute("UPDATE tracking SET position = 0")
    assert story.handle(batch=4) > 0
    assert _rules(story) == ONCE
    assert [story.rows(table, "*") for table in ("events", "due_notifications", "secrets")] == before


def test_each_trigger_is_decided_once_when_two_handlers_run_at_the_same_time(
    log: Log, story: Story, clock: Clock
) -> None:
    for number in range(60):
        story.ask_for_code(f"u{number}")
    lost: list[LostRace] = []

    def run() -> None:
        tried = 1
        while tried:
            try:
                tried = handle_batch(log, clock, Deployment(), batch=5)
            except LostRace as race:
                lost.append(race)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(decided.fact.source.id for decided in story.decisions()) == Counter(
        {f"{n}": 1 for n in range(1, 61)}
    )
    assert story.count("due_notifications") == 60


def test_the_loser_of_a_race_stores_nothing(log: Log, story: Story, clock: Clock) -> None:
    story.ask_for_code()

    def clock_of_the_slower() -> Any:
        # The faster one comes between this one's reading and its writing.
        if not story.decisions():
            handle_batch(log, clock, Deployment())
        return clock()

    with pytest.raises(LostRace):
        handle_batch(log, clock_of_the_slower, Deployment())
    assert len(story.decisions()) == 1


def test_events_that_are_no_triggers_are_passed_over(story: Story) -> None:
    story.tell("order.placed", "order/1", total=3)
    story.tell("user.human.profile.changed", first_name="Anna")
    assert story.handle() == 2
    assert story.decisions() == []


def test_the_v1_name_of_a_trigger_asks_for_the_same(story: Story) -> None:
    story.tell("user.email.code.added", **CODE)
    story.handle()
    assert story.request().rule == "user.human.email.code.added"


def test_the_v1_name_of_the_password_event_asks_for_nothing(story: Story) -> None:
    story.add_user()
    story.tell("user.password.changed")
    story.handle()
    assert story.decisions() == []


# --- what was known when it was decided ---------------------------------------------------------


def test_a_code_is_requested_before_its_user_is_known(story: Story) -> None:
    story.ask_for_code()
    story.handle()
    assert story.request().user_id == "ann"


@pytest.mark.parametrize("batch", [1, 500])
@pytest.mark.parity("S2.8")
def test_a_row_that_waits_for_its_user_is_due_at_once_when_the_user_comes(story: Story, batch: int) -> None:
    story.ask_for_code()
    story.handle()
    later = story.clock.now + timedelta(minutes=30)
    with story.log.database.connection() as connection:
        connection.execute("UPDATE due_notifications SET due_at = %s, not_before = %s", (later, later))
    story.add_user()
    story.handle(batch=batch)
    ((due_at,),) = story.rows("due_notifications", "due_at")
    assert due_at < later


def test_a_newer_code_declines_the_older_when_both_are_read_together(story: Story) -> None:
    story.ask_for_code()
    story.ask_for_code(code="NEWER")
    story.handle()
    older, newer = story.decisions()
    assert isinstance(older.fact, NotificationDeclined)
    assert older.fact.reason is Reason.SUPERSEDED
    assert isinstance(newer.fact, NotificationRequested)


def test_a_newer_code_pulls_the_older_forward_when_it_comes_later(story: Story) -> None:
    story.ask_for_code()
    story.handle()
    later = story.clock.now + timedelta(minutes=30)
    with story.log.database.connection() as connection:
        connection.execute("UPDATE due_notifications SET due_at = %s, not_before = %s", (later, later))
    story.ask_for_code(code="NEWER")
    story.handle()
    assert all(due_at < later for (due_at,) in story.rows("due_notifications", "due_at"))
    assert len(story.decisions()) == 2


def test_a_passkey_code_is_not_touched_by_another_passkeys(story: Story) -> None:
    kind = "user.human.passwordless.initialization.code"
    for code_id in ("one", "two"):
        story.tell(f"{kind}.requested", id=code_id, **CODE)
    story.tell(f"{kind}.check.succeeded", id="one")
    story.handle()
    assert [type(decided.fact).__name__ for decided in story.decisions()] == [
        "NotificationDeclined",
        "NotificationRequested",
    ]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"code_returned": True}, Reason.CODE_RETURNED),
        ({"returnCode": True}, Reason.CODE_RETURNED),
    ],
)
def test_nothing_is_asked_for_when_the_caller_has_the_code(
    story: Story, data: dict[str, Any], reason: Reason
) -> None:
    story.ask_for_code(**data)
    story.handle()
    assert story.declined().reason is reason


def test_nothing_is_asked_for_when_the_code_has_expired_already(story: Story) -> None:
    story.tell("user.human.email.code.added", time=story.clock.now - timedelta(hours=2), **CODE)
    story.handle()
    assert story.declined().reason is Reason.EXPIRED


def test_a_locked_user_gets_no_code_but_is_told_of_a_changed_password(story: Story) -> None:
    story.add_user()
    story.tell("user.locked")
    story.ask_for_code()
    story.tell("user.human.password.changed")
    story.handle()
    code, change = story.decisions()
    assert isinstance(code.fact, NotificationDeclined)
    assert code.fact.reason is Reason.USER_INACTIVE
    assert isinstance(change.fact, NotificationRequested)


@pytest.mark.parity("S1.2")
def test_a_request_knows_what_it_has_taken_into_account(story: Story) -> None:
    story.add_user(organisation_id="org-1")
    story.ask_for_code(auth_request_id="V2_9")
    last = story.tell("order.placed", "order/1")
    story.handle()
    request = story.request()
    assert request.position_seen == last.position
    assert request.decided_at == story.clock.now
    assert request.organisation_id == "org-1"
    assert request.arguments == {"AuthRequestID": "V2_9", "ExpirySeconds": "3600"}
    assert (request.source.source, request.source.id, request.source.version) == ("auth", "2", 2)


def test_instances_do_not_see_each_others_users(story: Story) -> None:
    story.tell("user.locked", instance="other")
    story.ask_for_code()
    story.handle()
    assert story.request().user_id == "ann"


# --- codes --------------------------------------------------------------------------------------


def test_the_code_of_a_request_is_kept_and_that_of_a_declined_event_forgotten(story: Story) -> None:
    story.ask_for_code("ann")
    story.ask_for_code("bob", code_returned=True)
    assert story.count("secrets") == 2
    story.handle()
    assert story.count("secrets") == 1


def test_no_code_stands_in_any_event(story: Story) -> None:
    _tell_everything(story)
    story.handle()
    told = str([event.fact for event in (*story.events(ours=True), *story.events(ours=False))])
    assert "K7XQ2M" not in told


def test_a_due_row_is_kept_for_each_request_and_for_nothing_else(story: Story) -> None:
    story.ask_for_code("ann")
    story.ask_for_code("bob", code_returned=True)
    story.handle()
    requested = [one.id for one in story.decisions() if isinstance(one.fact, NotificationRequested)]
    assert [(row,) for row in requested] == story.rows("due_notifications", "notification_id")
