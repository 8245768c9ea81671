"""From an event of each kind to the message that somebody reads."""

from __future__ import annotations

import re
from html import escape
from typing import Any

import pytest

from notification_domain.notification_events import NotificationRequested
from notification_domain.policies import Deployment
from tests.story import ORIGIN
from tests.workers.conftest import Office

SESSION = "session/s1"
CODE: dict[str, Any] = {"code": "K7XQ2M", "expiry": 3600}
NINE: dict[str, tuple[str, dict[str, Any]]] = {
    "user.human.initialization.code.added": ("user/ann", CODE),
    "user.human.email.code.added": ("user/ann", CODE),
    "user.human.password.code.added": ("user/ann", CODE),
    "user.domain.claimed": ("user/ann", {"user_name": "ann@temp.example"}),
    "user.human.passwordless.initialization.code.requested": ("user/ann", CODE | {"id": "key-1"}),
    "user.human.password.changed": ("user/ann", {}),
    "session.otp.email.challenged": (SESSION, CODE),
    "session.otp.sms.challenged": (SESSION, CODE),
    "user.human.invite.code.added": ("user/ann", CODE),
}
"""The nine triggers that the original's tests know, with a subject and a payload."""
BY_MAIL = [kind for kind in NINE if ".sms." not in kind]
each_of_nine = pytest.mark.parametrize("kind", NINE)


def settle_in(office: Office) -> None:
    office.story.add_user(organisation_id="org-1")
    office.story.tell("user.human.email.verified")
    office.story.tell("user.human.phone.verified")
    office.story.tell("session.user.checked", SESSION, userID="ann")


async def message_of(office: Office, kind: str, **more: Any) -> Any:
    subject, data = NINE[kind]
    office.story.tell(kind, subject, **(data | more))
    await office.deliver()
    (message,) = await office.messages()
    return message


def links(message: Any) -> list[str]:
    return re.findall(r"https?://\S+", message["text"])


def assert_it_leads_to(message: Any, origin: str) -> None:
    if message["channel"] == "sms":
        host = origin.partition("://")[2].partition(":")[0]
        assert message["text"].splitlines()[-1] == f"@{host} #K7XQ2M"
    else:
        (link,) = links(message)
        assert link.startswith(f"{origin}/")
        assert f'href="{origin}/' in message["html"]


@each_of_nine
@pytest.mark.parity("NOT-1", "RND-1")
async def test_the_link_leads_to_the_origin_the_event_names(office: Office, kind: str) -> None:
    settle_in(office)
    message = await message_of(office, kind, trigger_origin="https://own.acme.example:8443")
    assert isinstance(office.story.decision(), NotificationRequested)
    assert office.story.request().origin == "https://own.acme.example:8443"
    assert_it_leads_to(message, "https://own.acme.example:8443")


@each_of_nine
@pytest.mark.parity("NOT-2", "RND-1")
async def test_the_link_leads_to_the_primary_domain_when_the_event_names_no_origin(
    office: Office, kind: str
) -> None:
    office.story.deployment = Deployment(external_scheme="http", external_port=8080)
    office.story.tell("instance.domain.primary.set", "instance", domain="acme.example")
    settle_in(office)
    message = await message_of(office, kind)
    assert_it_leads_to(message, "http://acme.example:8080")


@pytest.mark.parametrize(
    ("kind", "field", "label"),
    [
        ("user.human.email.code.added", "url_template", "Confirm address"),
        ("user.human.passwordless.initialization.code.requested", "url_template", "Add passkey"),
        ("session.otp.email.challenged", "urlTmpl", "Sign in"),
        ("user.human.invite.code.added", "urlTemplate", "Accept invitation"),
    ],
)
@pytest.mark.parity("RND-1", "RND-5", "RND-6")
async def test_the_link_is_the_events_own_template_filled_in(
    office: Office, kind: str, field: str, label: str
) -> None:
    settle_in(office)
    template = "https://my.example/x?user={{.UserID}}&code={{.Code}}&org={{.OrgID}}"
    message = await message_of(office, kind, trigger_origin=ORIGIN, **{field: template})
    link = "https://my.example/x?user=ann&code=K7XQ2M&org=org-1"
    assert links(message) == [link]
    assert f"{label}:\n{link}" in message["text"]
    assert (escape(link), label) in re.findall(r'<a href="([^"]*)"[^>]*>([^<]*)</a>', message["html"])
    assert template in repr(office.story.request())
    assert "K7XQ2M" not in repr(office.story.request())


@pytest.mark.parity("WRK-2")
async def test_an_invitation_names_the_application_and_is_written_back(office: Office) -> None:
    office.story.add_user()
    office.story.tell("user.human.email.verified")
    office.story.tell("user.human.email.changed", email="newest@example.com")
    mail = await message_of(
        office, "user.human.invite.code.added", trigger_origin=ORIGIN, applicationName="APP"
    )
    assert mail["subject"] == "Invitation to APP"
    assert mail["to"] == ["newest@example.com"]
    assert office.topics()[-1] == "NotificationSent"
    assert office.story.source_types()[-1] == "user.human.invite.code.sent"
