"""The SMS providers of an instance: what may be wished, and what events of any caller make of them."""

from __future__ import annotations

from uuid import UUID

import pytest

from notification_domain.provider_events import (
    TYPES,
    HttpAdded,
    HttpChanged,
    ProviderActivated,
    ProviderDeactivated,
    ProviderFact,
    ProviderRemoved,
    TwilioAdded,
    TwilioChanged,
    TwilioTokenChanged,
    type_of,
)
from notification_domain.providers import (
    Http,
    Incomplete,
    Missing,
    NoSuchProvider,
    OtherKind,
    Provider,
    ProviderExists,
    Providers,
    Twilio,
    decide,
    evolve,
    missing,
)
from notification_domain.secret_fields import split
from notification_domain.source_events import InvalidData, expected_kind, interpret

MAIN = TwilioAdded(id="main", description="Main", sid="AC1", token="secret:1", sender_number="+15005550006")
HOOK = HttpAdded(id="hook", endpoint="https://sms.example/send", signing_key="secret:2")


def after(*facts: ProviderFact) -> Providers:
    providers = Providers()
    for fact in facts:
        providers = evolve(providers, fact)
    return providers


BOTH = after(MAIN, HOOK)


@pytest.mark.parity("S4.7")
def test_activating_one_deactivates_the_others() -> None:
    assert after(MAIN, HOOK, ProviderActivated(id="main")).active == "main"
    assert after(MAIN, HOOK, ProviderActivated(id="main"), ProviderActivated(id="hook")).active == "hook"


@pytest.mark.parametrize("ending", [ProviderDeactivated(id="main"), ProviderRemoved(id="main")])
def test_none_is_active_when_the_active_one_ends(ending: ProviderFact) -> None:
    assert after(MAIN, HOOK, ProviderActivated(id="main"), ending).active == ""


@pytest.mark.parametrize("ending", [ProviderDeactivated(id="hook"), ProviderRemoved(id="hook")])
def test_the_active_one_stays_so_when_another_ends(ending: ProviderFact) -> None:
    assert after(MAIN, HOOK, ProviderActivated(id="main"), ending).active == "main"


def test_what_a_change_does_not_name_stays() -> None:
    changed = after(MAIN, TwilioChanged(id="main", sender_number="+41791234567"))
    assert changed.named("main") == Provider("main", "Main", Twilio("AC1", "secret:1", "+41791234567"))
    assert after(MAIN, TwilioTokenChanged(id="main", token="secret:9")).named("main") == Provider(
        "main", "Main", Twilio("AC1", "secret:9", "+15005550006")
    )


def test_the_key_before_signs_too_when_it_was_renewed() -> None:
    renewed = after(HOOK, HttpChanged(id="hook", signing_key="secret:3")).named("hook")
    assert renewed == Provider("hook", "", Http(HOOK.endpoint, "secret:3", "secret:2"))
    moved = after(HOOK, HttpChanged(id="hook", endpoint="https://b.example")).named("hook")
    assert moved == Provider("hook", "", Http("https://b.example", "secret:2"))


@pytest.mark.parametrize(
    "stray",
    [
        ProviderActivated(id="nobody"),
        ProviderRemoved(id="nobody"),
        TwilioChanged(id="nobody", sid="AC2"),
        TwilioChanged(id="hook", sid="AC2"),
        HttpChanged(id="main", endpoint="https://b.example"),
    ],
)
def test_an_event_that_fits_nothing_changes_nothing(stray: ProviderFact) -> None:
    assert evolve(BOTH, stray) == BOTH


@pytest.mark.parametrize(
    ("added", "parts"),
    [
        (MAIN, ()),
        (HOOK, ()),
        (TwilioAdded(id="a", sid="AC1", token="t", verify_service_sid="VA1"), ()),
        (TwilioAdded(id="a", token="t", sender_number="+1"), (Missing.SID,)),
        (TwilioAdded(id="a", sid="AC1", sender_number="+1"), (Missing.TOKEN,)),
        (TwilioAdded(id="a", sid="AC1", token="t"), (Missing.SENDER,)),
        (TwilioAdded(id="a"), (Missing.SID, Missing.TOKEN, Missing.SENDER)),
        (HttpAdded(id="a", signing_key="k"), (Missing.ENDPOINT,)),
        (HttpAdded(id="a", endpoint="https://b.example"), (Missing.SIGNING_KEY,)),
    ],
)
def test_each_missing_part_is_named(added: ProviderFact, parts: tuple[Missing, ...]) -> None:
    provider = after(added).named(added.id)
    assert provider is not None
    assert missing(provider) == parts


def test_an_incomplete_provider_cannot_be_activated_and_the_sentence_says_why() -> None:
    providers = after(TwilioAdded(id="a", description="Spare", sid="AC1", sender_number="+1"))
    refusal = decide(providers, ProviderActivated(id="a"))
    assert isinstance(refusal, Incomplete)
    assert refusal.sentence == "SMS provider a (Spare) has no token."


@pytest.mark.parametrize(
    "wish",
    [
        ProviderDeactivated(id="main"),
        TwilioChanged(id="main"),
        TwilioChanged(id="main", sid="AC1", description="Main"),
        HttpChanged(id="hook", endpoint=HOOK.endpoint),
    ],
)
def test_a_wish_that_changes_nothing_leads_to_nothing(wish: ProviderFact) -> None:
    assert decide(BOTH, wish) == ()


@pytest.mark.parametrize(
    "wish",
    [
        TwilioAdded(id="third"),
        ProviderActivated(id="main"),
        ProviderRemoved(id="hook"),
        TwilioTokenChanged(id="main", token="new"),
        HttpChanged(id="hook", endpoint="https://b.example"),
    ],
)
def test_any_other_wish_leads_to_its_own_event(wish: ProviderFact) -> None:
    assert decide(BOTH, wish) == (wish,)


def test_activating_the_active_one_leads_to_nothing() -> None:
    assert decide(evolve(BOTH, ProviderActivated(id="main")), ProviderActivated(id="main")) == ()


def test_refusals_name_the_provider() -> None:
    exists = decide(BOTH, TwilioAdded(id="main", sid="AC2"))
    assert isinstance(exists, ProviderExists)
    assert exists.sentence == "There is an SMS provider main already, with other settings."
    nobody = decide(BOTH, ProviderActivated(id="nobody"))
    assert isinstance(nobody, NoSuchProvider)
    assert nobody.sentence == "There is no SMS provider nobody."
    other = decide(BOTH, HttpChanged(id="main", endpoint="https://b.example"))
    assert isinstance(other, OtherKind)
    assert other.sentence == "SMS provider main (Main) is of the kind twilio; that does not apply to it."


def test_callers_spell_the_events_with_and_without_the_missing_dot() -> None:
    data = {"id": "p", "sid": "AC1", "token": "t", "senderNumber": "+1", "verifyServiceSid": "VA1"}
    understood = TwilioAdded(id="p", sid="AC1", token="t", sender_number="+1", verify_service_sid="VA1")
    for event_type in ("instance.sms.configtwilio.added", "instance.sms.config.twilio.added"):
        assert interpret(event_type, data) == understood
        assert expected_kind(event_type) == "instance"
    assert interpret("instance.sms.configtwilio.activated", {"id": "p"}) == ProviderActivated(id="p")


@pytest.mark.parametrize("event_type", TYPES)
def test_an_event_must_name_its_provider(event_type: str) -> None:
    with pytest.raises(InvalidData) as caught:
        interpret(event_type, {"token": "t"})
    assert caught.value.pointer == "/id"


@pytest.mark.parametrize("wish", [MAIN, HOOK, TwilioTokenChanged(id="main", token="t")])
def test_no_credential_stays_in_what_the_log_keeps(wish: ProviderFact) -> None:
    secret = "sesame"
    public, secrets = split(
        UUID(int=1), type_of(wish), {"id": "p", "token": secret, "signingKey": secret, "description": "d"}
    )
    assert secret not in str(public)
    assert [(one.value, one.lasting) for one in secrets] == [(secret, True), (secret, True)]
