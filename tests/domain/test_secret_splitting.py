"""What is taken out of a payload before it is stored."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notification_domain.identity import secret_id
from notification_domain.secret_fields import REFERENCE, Secret, split
from notification_domain.source_events import CodeAdded, interpret

EVENT = UUID("b8412335-dc08-57fd-8e73-6a902632daac")
ADDED = "user.human.email.code.added"
SMTP = "instance.smtp.config.added"
TWILIO = "instance.sms.configtwilio.added"
CANARY = "canary-4711"


def reference(pointer: str) -> str:
    return f"{REFERENCE}{secret_id(EVENT, pointer)}"


def taken(pointer: str, value: str = CANARY, *, lasting: bool = False) -> Secret:
    return Secret(secret_id(EVENT, pointer), pointer, value, lasting)


def test_a_code_leaves_a_reference_in_its_place() -> None:
    public, secrets = split(EVENT, ADDED, {"code": CANARY, "expiry": 300})
    assert public == {"code": reference("/code"), "expiry": 300}
    assert secrets == (taken("/code"),)


@pytest.mark.parametrize("spelled", ["Code", "CODE", "code_", "coDe"])
def test_a_code_is_a_secret_however_it_is_spelled(spelled: str) -> None:
    public, secrets = split(EVENT, ADDED, {spelled: CANARY})
    assert public == {spelled: reference(f"/{spelled}")}
    assert secrets == (taken(f"/{spelled}"),)


def test_the_code_of_an_unknown_type_is_a_secret_too() -> None:
    assert split(EVENT, "order.placed", {"code": CANARY})[1] == (taken("/code"),)


@pytest.mark.parametrize("nothing", [None, ""])
def test_there_is_no_secret_when_there_is_no_code(nothing: object) -> None:
    assert split(EVENT, ADDED, {"code": nothing}) == ({"code": nothing}, ())


def test_what_is_no_text_is_kept_as_json() -> None:
    assert split(EVENT, ADDED, {"code": {"Crypted": "YQ=="}})[1] == (taken("/code", '{"Crypted":"YQ=="}'),)


def test_named_fields_are_taken_out() -> None:
    public, secrets = split(EVENT, "order.placed", {"pin": CANARY, "total": 5}, ["pin", "puk"])
    assert public == {"pin": reference("/pin"), "total": 5}
    assert secrets == (taken("/pin"),)


@pytest.mark.parametrize(
    ("event_type", "field"),
    [
        ("user.human.added", "secret"),
        ("user.human.added", "encodedHash"),
        ("user.human.added", "encoded_hash"),
        ("user.human.added", "EncodedHash"),
        ("user.human.added", "password"),
        ("user.human.selfregistered", "encodedHash"),
        ("user.added", "secret"),
        ("user.human.password.changed", "encodedHash"),
        ("user.password.changed", "secret"),
    ],
)
def test_of_a_password_only_its_being_set_is_kept(event_type: str, field: str) -> None:
    public, secrets = split(EVENT, event_type, {field: CANARY, "userName": "ada"})
    assert (public, secrets) == ({"userName": "ada", "password_set": True}, ())


def test_a_user_without_a_password_stays_without() -> None:
    assert split(EVENT, "user.human.added", {"userName": "ada"}) == ({"userName": "ada"}, ())


def test_a_password_field_elsewhere_is_only_data() -> None:
    assert split(EVENT, "order.placed", {"password": "house rules"}) == ({"password": "house rules"}, ())


@pytest.mark.parametrize(
    ("event_type", "payload", "pointer"),
    [
        (SMTP, {"host": "mail:587", "password": CANARY}, "/password"),
        ("instance.smtp.config.password.changed", {"id": "1", "password": CANARY}, "/password"),
        ("instance.smtp.config.http.added", {"endpoint": "https://a", "signingKey": CANARY}, "/signingKey"),
        (TWILIO, {"sid": "AC1", "token": CANARY}, "/token"),
        (SMTP, {"plainAuth": {"user": "u", "password": CANARY}}, "/plainAuth/password"),
        (
            SMTP,
            {"xoauth2Auth": {"clientCredentials": {"clientId": "c", "clientSecret": CANARY}}},
            "/xoauth2Auth/clientCredentials/clientSecret",
        ),
        (SMTP, {"a/b~": {"client_secret": CANARY}}, "/a~1b~0/client_secret"),
    ],
)
def test_credentials_of_providers_are_kept_outside_for_good(
    event_type: str, payload: dict[str, Any], pointer: str
) -> None:
    public, secrets = split(EVENT, event_type, payload)
    assert secrets == (taken(pointer, lasting=True),)
    assert CANARY not in str(public)


def test_a_credential_that_is_sealed_already_is_taken_out_whole() -> None:
    public, secrets = split(EVENT, SMTP, {"password": {"KeyID": "k", "Crypted": CANARY}})
    assert public == {"password": reference("/password")}
    assert secrets == (taken("/password", f'{{"KeyID":"k","Crypted":"{CANARY}"}}', lasting=True),)


def test_two_secrets_of_one_event_never_share_an_id() -> None:
    payload = {"a": {"b": {"token": "1"}}, "a/b": {"token": "2"}, "a~1b": {"token": "3"}}
    _, secrets = split(EVENT, TWILIO, payload)
    assert len({secret.id for secret in secrets}) == 3


def test_the_payload_itself_is_left_as_it_was() -> None:
    payload = {"code": CANARY}
    split(EVENT, ADDED, payload)
    assert payload == {"code": CANARY}


@given(st.lists(st.booleans(), min_size=4, max_size=4), st.sampled_from(["", "_"]))
def test_what_is_stored_never_tells_a_code_that_would_be_understood(capitals: list[bool], gap: str) -> None:
    letters = [c.upper() if big else c for c, big in zip("code", capitals, strict=True)]
    payload = {gap.join(letters): CANARY}
    fact = interpret(ADDED, payload)
    assert isinstance(fact, CodeAdded)
    if fact.code:
        assert CANARY not in msgspec.json.encode(split(EVENT, ADDED, payload)[0]).decode()
