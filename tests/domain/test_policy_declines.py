"""When a trigger asks for nothing, and what makes an open message pointless."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from notification_domain.identity import event_id
from notification_domain.notification_events import NotificationDeclined, NotificationRequested, Reason
from notification_domain.policies import Deployment, obstacle, react, user_obstacle
from notification_domain.recipients import Instance, Organisation
from notification_domain.secret_fields import REFERENCE, split
from notification_domain.source_events import InvalidData, interpret
from notification_domain.triggers import LIFE_CYCLE, Category, types_that_matter
from tests.domain.examples import ADA, NOW
from tests.domain.occasions import ACME, BY_ID, ROWS, Row, declined, later, occasion, requested

every_trigger = pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
with_code = pytest.mark.parametrize("row", [row for row in ROWS if row.has_code], ids=lambda row: row.id)
OTHER_CAUSE = {"cause": {"version": 3, "notification_id": "n"}}
THIS_CAUSE = {"cause": {"version": 7, "notification_id": "n"}}

# --- declines -------------------------------------------------------------------------------------


@with_code
def test_nothing_is_sent_when_the_caller_took_the_code(row: Row) -> None:
    """R1."""
    assert declined(occasion(row, {"code_returned": True})) == NotificationDeclined(
        rule=row.type,
        message_type=row.message_type,
        channel=row.channel,
        source=occasion(row).source,
        reason=Reason.CODE_RETURNED,
        user_id="42",
        organisation_id="acme",
        decided_at=NOW,
        position_seen=12,
    )


@with_code
@pytest.mark.parametrize(("left", "is_declined"), [(-1, True), (0, True), (1, False)])
def test_nothing_is_sent_when_the_code_has_expired(row: Row, left: int, is_declined: bool) -> None:
    """R2: counted from when it happened."""
    pulled = replace(occasion(row), happened_at=NOW - timedelta(seconds=300 - left))
    if is_declined:
        assert declined(pulled).reason is Reason.EXPIRED
    else:
        assert requested(pulled).code_expires_at == NOW + timedelta(seconds=left)


@pytest.mark.parametrize(
    ("of_organisation", "of_instance", "announced"),
    [
        (None, True, True),
        (None, False, False),
        (False, True, False),
        (True, False, True),
    ],
)
def test_a_changed_password_is_announced_when_policy_asks_for_it(
    of_organisation: bool | None, of_instance: bool, announced: bool
) -> None:
    """NOT-6, R6."""
    pulled = occasion(
        BY_ID["T11"],
        organisation=Organisation(password_change=of_organisation),
        instance=replace(ACME, password_change=of_instance),
    )
    if announced:
        requested(pulled)
    else:
        assert declined(pulled).reason is Reason.POLICY_OFF


def test_the_announcement_policy_is_about_changed_passwords_alone() -> None:
    requested(occasion(BY_ID["T9"], instance=replace(ACME, password_change=False)))


@every_trigger
@pytest.mark.parametrize("state", ["locked", "deactivated"])
def test_only_notices_reach_a_user_who_rests(row: Row, state: str) -> None:
    pulled = occasion(row, user=replace(ADA, state=state))
    if row.category is Category.NOTICE:
        requested(pulled)
    else:
        assert declined(pulled).reason is Reason.USER_INACTIVE


@every_trigger
@pytest.mark.parametrize(
    "known",
    [
        {"user": replace(ADA, state="removed")},
        {"organisation": Organisation(state="removed")},
        {"instance": Instance(state="removed")},
    ],
    ids=["user", "organisation", "instance"],
)
def test_nothing_reaches_who_was_removed(row: Row, known: dict[str, Any]) -> None:
    assert declined(occasion(row, **known)).reason is Reason.USER_INACTIVE


@every_trigger
def test_a_trigger_knows_its_category(row: Row) -> None:
    trigger = occasion(row).trigger
    assert trigger.category is row.category
    assert user_obstacle(trigger, "active") is None


# --- newer events ---------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [r for r in ROWS if r.id not in {"T10", "T11"}], ids=lambda row: row.id)
def test_a_newer_trigger_supersedes_an_older_one(row: Row) -> None:
    """R3."""
    pulled = replace(occasion(row), later=later((row.type, row.payload)))
    assert declined(pulled).reason is Reason.SUPERSEDED


@pytest.mark.parametrize("row", [BY_ID["T10"], BY_ID["T11"]], ids=lambda row: row.id)
def test_passkey_codes_and_changed_passwords_stand_side_by_side(row: Row) -> None:
    requested(replace(occasion(row), later=later((row.type, row.payload))))


@pytest.mark.parametrize("row", [row for row in ROWS if row.v1], ids=lambda row: row.v1)
def test_the_v1_name_supersedes_too(row: Row) -> None:
    assert declined(replace(occasion(row), later=later((row.v1, row.payload)))).reason is Reason.SUPERSEDED


@pytest.mark.parametrize("row", [row for row in ROWS if row.used_by], ids=lambda row: row.id)
def test_a_used_code_is_not_sent(row: Row) -> None:
    used = later((row.used_by, {"id": "c-1"}))
    assert declined(replace(occasion(row), later=used)).reason is Reason.CODE_USED


def test_a_used_code_is_not_sent_when_v1_says_so() -> None:
    used = later("user.password.changed")
    assert declined(replace(occasion(BY_ID["T3"]), later=used)).reason is Reason.CODE_USED


@pytest.mark.parametrize("trigger", ["T7", "T8"])
def test_a_challenge_ends_with_its_session(trigger: str) -> None:
    ended = replace(occasion(BY_ID[trigger]), later=later("session.terminated"))
    assert declined(ended).reason is Reason.SUPERSEDED


@every_trigger
def test_a_sent_event_counts_for_the_trigger_it_names_or_for_all_before_it(row: Row) -> None:
    same = {"id": "c-1"}
    requested(replace(occasion(row), later=later((row.sent_type, OTHER_CAUSE | same))))
    for payload in (THIS_CAUSE | same, same):
        pulled = replace(occasion(row), later=later((row.sent_type, payload)))
        assert declined(pulled).reason is Reason.SUPERSEDED


@pytest.mark.parametrize("what", ["sent_type", "used_by"])
def test_a_passkey_code_goes_by_its_own_id_alone(what: str) -> None:
    row = BY_ID["T10"]
    requested(replace(occasion(row), later=later((getattr(row, what), {"id": "c-2"}))))
    requested(replace(occasion(row), later=later((getattr(row, what), {}))))
    declined(replace(occasion(row), later=later((getattr(row, what), {"id": "c-1"}))))


def test_the_first_thing_that_stands_against_it_is_the_reason() -> None:
    row = BY_ID["T2"]
    both = later(row.sent_type, row.used_by)
    assert obstacle(occasion(row).trigger, 7, "", both) is Reason.SUPERSEDED
    assert obstacle(occasion(row).trigger, 7, "", both[::-1]) is Reason.CODE_USED


def test_a_newer_event_that_cannot_be_read_counts_by_its_type() -> None:
    row = BY_ID["T2"]
    assert obstacle(occasion(row).trigger, 7, "", ((row.sent_type, None),)) is Reason.SUPERSEDED
    assert obstacle(occasion(row).trigger, 7, "", (("order.placed", None),)) is None


@pytest.mark.parametrize("what", ["sent_type", "used_by"])
def test_a_newer_event_that_cannot_be_read_may_be_about_another_passkey_code(what: str) -> None:
    row = BY_ID["T10"]
    assert obstacle(occasion(row).trigger, 7, "c-1", ((getattr(row, what), None),)) is None


@every_trigger
def test_what_could_stand_against_a_message_is_known_beforehand(row: Row) -> None:
    trigger = occasion(row).trigger
    matters = types_that_matter(trigger)
    assert trigger.superseded_by | trigger.used_by | LIFE_CYCLE | {row.sent_type} == matters


# --- laws -----------------------------------------------------------------------------------------

CANARY = "canary-4711"
spellings = st.sampled_from(["code", "Code", "CODE", "coDe"])
fields = st.sampled_from(
    [
        "expiry",
        "code_returned",
        "triggerOrigin",
        "id",
        "userName",
        "generatorId",
        "notificationType",
        "userID",
    ]
)
values = st.sampled_from([0, 1, True, "", "x", 300, 2**62, "https://a", None])


@given(st.sampled_from(ROWS), spellings, st.dictionaries(fields, values))
def test_no_event_of_ours_ever_holds_a_code(row: Row, spelled: str, payload: dict[str, Any]) -> None:
    given_ = {name: value for name, value in row.payload.items() if name != "code"}
    public, _ = split(event_id("acme", "s", "1"), row.type, given_ | payload | {spelled: CANARY})
    try:
        fact = interpret(row.type, public)
    except InvalidData:
        return
    assert fact is not None
    decision = react(replace(occasion(row), fact=fact), Deployment())
    assert CANARY not in msgspec.json.encode(decision).decode()
    if isinstance(decision, NotificationRequested):
        assert decision.secret == "" or decision.secret.startswith(REFERENCE)
