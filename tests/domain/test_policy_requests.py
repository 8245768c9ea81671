"""Each of the twelve triggers asks for its message: NOT-1 to NOT-5, NOT-7 and NOT-8."""

from __future__ import annotations

from datetime import timedelta

import pytest

from notification_domain.notification_events import NotificationRequested
from notification_domain.policies import PRIORITIES, Deployment, renewed_expiry
from notification_domain.recipients import Instance, Session, User
from notification_domain.triggers import TRIGGERS, Category, trigger_named, trigger_of
from tests.domain.examples import ADA, NOW
from tests.domain.occasions import ACME, BY_ID, ORIGIN, REFERENCE, ROWS, Row, occasion, requested

every_trigger = pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
WITHOUT_ORIGIN = {"triggerOrigin": None}


def test_there_is_a_row_for_every_trigger() -> None:
    assert {row.type for row in ROWS} == {trigger.rule for trigger in TRIGGERS}
    assert len(ROWS) == len(TRIGGERS) == 12


@every_trigger
@pytest.mark.parity("S1.2")
def test_a_trigger_asks_for_its_message(row: Row) -> None:
    code_expires_at = NOW + timedelta(minutes=4) if row.has_code else None
    template = next((value for name, value in row.payload.items() if name.lower().startswith("url")), "")
    assert requested(occasion(row)) == NotificationRequested(
        rule=row.type,
        message_type=row.message_type,
        channel=row.channel,
        source=occasion(row).source,
        user_id="42",
        organisation_id="acme",
        arguments=row.arguments,
        origin=ORIGIN,
        url_template=template,
        secret=REFERENCE if row.has_code else "",
        verified_only=row.verified_only,
        otp=row.otp,
        code_expires_at=code_expires_at,
        expires_at=code_expires_at or NOW + timedelta(hours=72),
        supersede_key=f"{row.type} c-1" if row.id == "T10" else row.type,
        priority=PRIORITIES[row.category],
        decided_at=NOW,
        position_seen=12,
    )


@every_trigger
def test_a_trigger_is_written_back_as_sent(row: Row) -> None:
    trigger = trigger_of(row.type)
    assert trigger is not None
    assert trigger.sent_type == row.sent_type
    assert trigger.used_by == ({row.used_by} if row.used_by else frozenset())
    assert trigger_named(row.type) is trigger


@pytest.mark.parametrize("row", [row for row in ROWS if row.v1], ids=lambda row: row.v1)
def test_the_v1_name_pulls_the_same_trigger(row: Row) -> None:
    assert trigger_of(row.v1) is trigger_of(row.type)


@pytest.mark.parametrize("event_type", ["user.password.changed", "user.human.added", "order.placed", ""])
def test_other_types_pull_no_trigger(event_type: str) -> None:
    assert trigger_of(event_type) is None


def test_there_is_no_trigger_of_an_unknown_rule() -> None:
    assert trigger_named("order.placed") is None


@pytest.mark.parity("NOT-8")
def test_unverified_addresses_will_do_but_for_otp_and_passkeys() -> None:
    """NOT-8."""
    verified = {row.id for row in ROWS if requested(occasion(row)).verified_only}
    assert verified == {"T5", "T6", "T7", "T8", "T10"}


# --- origin ---------------------------------------------------------------------------------------


@every_trigger
@pytest.mark.parametrize(
    ("scheme", "port", "origin"),
    [
        ("https", 443, "https://acme.example"),
        ("https", 8443, "https://acme.example:8443"),
        ("http", 80, "http://acme.example"),
        ("http", 8080, "http://acme.example:8080"),
        ("http", 443, "http://acme.example:443"),
    ],
)
def test_the_origin_is_the_primary_domain_when_the_event_names_none(
    row: Row, scheme: str, port: int, origin: str
) -> None:
    """NOT-2."""
    deployment = Deployment(external_scheme=scheme, external_port=port)
    request = requested(occasion(row, WITHOUT_ORIGIN), deployment)
    assert request.origin == origin
    assert request.arguments.get("Domain", "acme.example") == "acme.example"


@every_trigger
def test_there_is_no_origin_when_the_instance_has_no_primary_domain(row: Row) -> None:
    request = requested(occasion(row, WITHOUT_ORIGIN, instance=Instance()))
    assert request.origin == ""
    assert "Domain" not in request.arguments


@every_trigger
def test_the_origin_has_no_slash_at_its_end(row: Row) -> None:
    assert requested(occasion(row, {"triggerOrigin": f"{ORIGIN}/"})).origin == ORIGIN


# --- channel and code -----------------------------------------------------------------------------


def test_a_password_code_goes_by_text_when_the_event_says_so() -> None:
    assert requested(occasion(BY_ID["T3"], {"notificationType": 1})).channel == "sms"
    assert requested(occasion(BY_ID["T3"], {"notificationType": None})).channel == "email"


def test_a_code_that_is_made_elsewhere_is_not_ours_to_hold() -> None:
    """NOT-3."""
    elsewhere = {"code": None, "expiry": None, "generatorId": "g-1"}
    request = requested(occasion(BY_ID["T3"], elsewhere))
    assert (request.secret, request.code_expires_at, request.channel) == ("", None, "sms")
    assert request.generator_id == "g-1"


@pytest.mark.parametrize("trigger", ["T5", "T7"])
def test_a_one_time_password_stays_one_when_it_is_made_elsewhere(trigger: str) -> None:
    """NOT-4."""
    request = requested(occasion(BY_ID[trigger], {"code": None, "expiry": None, "generatorId": "g-1"}))
    assert (request.secret, request.otp) == ("", True)


# --- whom -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("trigger", ["T7", "T8"])
def test_a_challenge_is_for_the_user_of_the_session(trigger: str) -> None:
    """NOT-5."""
    request = requested(occasion(BY_ID[trigger], user=User()))
    assert (request.source.subject, request.user_id, request.organisation_id) == ("session/s-1", "42", "acme")


def test_a_challenge_may_name_its_user_when_the_session_is_not_known() -> None:
    named = occasion(BY_ID["T8"], {"userID": "43"}, session=Session(), user=User())
    assert requested(named).user_id == "43"
    assert requested(occasion(BY_ID["T8"], session=Session(), user=User())).user_id == ""


def test_the_organisation_is_the_events_then_the_sessions_then_the_users() -> None:
    elsewhere = Session("42", "of-session")
    assert (
        requested(occasion(BY_ID["T8"], {"orgID": "of-event"}, session=elsewhere)).organisation_id
        == "of-event"
    )
    assert requested(occasion(BY_ID["T8"], session=elsewhere)).organisation_id == "of-session"
    assert requested(occasion(BY_ID["T8"], session=Session("42"))).organisation_id == ADA.organisation_id


def test_an_invitation_names_us_when_it_names_no_application() -> None:
    assert (
        requested(occasion(BY_ID["T12"], {"applicationName": None})).arguments["ApplicationName"] == "Tidings"
    )


# --- how long -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("max_ttl", "trigger", "lasts"),
    [
        (None, "T2", timedelta(minutes=4)),
        (None, "T11", timedelta(hours=1)),
        (timedelta(minutes=2), "T2", timedelta(minutes=2)),
        (timedelta(minutes=2), "T11", timedelta(minutes=2)),
        (timedelta(minutes=9), "T2", timedelta(minutes=4)),
    ],
)
@pytest.mark.parity("S1.MaxTtl")
def test_it_is_given_up_when_its_code_expires_or_its_time_to_live_is_over(
    max_ttl: timedelta | None, trigger: str, lasts: timedelta
) -> None:
    deployment = Deployment(max_ttl=max_ttl, default_ttl=timedelta(hours=1))
    assert requested(occasion(BY_ID[trigger]), deployment).expires_at == NOW + lasts


@pytest.mark.parametrize(
    ("max_ttl", "trigger", "lasts"),
    [
        (None, "T2", timedelta(minutes=1)),
        (None, "T11", timedelta(hours=1)),
        (timedelta(minutes=30), "T11", timedelta(minutes=30)),
        (timedelta(hours=9), "T11", timedelta(hours=1)),
    ],
)
def test_a_new_cycle_ends_with_the_code_or_lasts_as_long_as_the_first(
    max_ttl: timedelta | None, trigger: str, lasts: timedelta
) -> None:
    request = requested(occasion(BY_ID[trigger]), Deployment(default_ttl=timedelta(hours=1)))
    later = NOW + timedelta(minutes=3)
    assert renewed_expiry(request, later, Deployment(max_ttl=max_ttl)) == later + lasts


def test_codes_go_before_notices_and_notices_before_invitations() -> None:
    assert PRIORITIES[Category.CODE] < PRIORITIES[Category.NOTICE] < PRIORITIES[Category.INVITATION]


def test_a_domain_of_the_instance_that_is_not_primary_is_no_origin() -> None:
    side_door = Instance(domains=ACME.domains)
    assert requested(occasion(BY_ID["T2"], WITHOUT_ORIGIN, instance=side_door)).origin == ""
