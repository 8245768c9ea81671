"""The demo's people and what happens to them; fixed ids, so that a second telling changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

SOURCE = "urn:tidings:demo"
ORIGIN = "https://login.example.org"
DAY = 24 * 60 * 60

# Ids of subjects and events stand in clear in the database: they tell nobody's name.
ZOE, AIKO, EMILE = "user/demo-1", "user/demo-2", "user/demo-3"
SESSION = "session/demo-3"


class Step(msgspec.Struct, frozen=True):
    id: str
    type: str
    subject: str
    data: dict[str, Any] = {}
    notifies: bool = False
    """Whether a message follows from it."""

    def cloud_event(self) -> dict[str, Any]:
        return {
            "specversion": "1.0",
            "source": SOURCE,
            "id": self.id,
            "type": self.type,
            "subject": self.subject,
            "data": self.data,
        }


def acts() -> tuple[tuple[Step, ...], ...]:
    """A later act begins when the messages of the one before are delivered: it uses their codes up."""
    return tuple(_arrivals()), tuple(_codes()), tuple(_endings())


def _arrivals() -> Iterator[Step]:
    yield _person(ZOE, "zoe", "Zoë", "Müller", "+447700900101")
    yield _person(AIKO, "aiko", "愛子", "小林", "+447700900102")
    yield _person(EMILE, "emile", "Émile", "Łukasiewicz", "+447700900103")
    yield Step("2-phone-verified", "user.human.phone.verified", AIKO)
    yield Step("3-email-verified", "user.human.email.verified", EMILE)
    yield Step("3-phone-verified", "user.human.phone.verified", EMILE)
    yield Step("3-session", "session.added", SESSION)
    yield Step("3-checked", "session.user.checked", SESSION, {"user_id": "demo-3"})


def _codes() -> Iterator[Step]:
    yield _code("1-email-code", "user.human.email.code.added", ZOE, "ZQ7K4M")
    yield _code("1-invite", "user.human.invite.code.added", ZOE, "H3P9WD", application_name="Tidings Demo")
    yield _code("2-password-code", "user.human.password.code.added", AIKO, "8RTX2C", notification_type=1)
    yield _code("3-otp-email", "session.otp.email.challenged", SESSION, "48151623")
    yield _code("3-otp-sms", "session.otp.sms.challenged", SESSION, "42108015")
    claimed = {"user_name": "emile@temporary.example.org", "trigger_origin": ORIGIN}
    yield Step("3-domain-claimed", "user.domain.claimed", EMILE, claimed, notifies=True)


def _endings() -> Iterator[Step]:
    yield Step("1-email-verified", "user.human.email.verified", ZOE)
    changed = {"trigger_origin": ORIGIN}
    yield Step("2-password-changed", "user.human.password.changed", AIKO, changed, notifies=True)


def _person(subject: str, name: str, first: str, last: str, phone: str) -> Step:
    data = {
        "user_name": name,
        "first_name": first,
        "last_name": last,
        "display_name": f"{first} {last}",
        "preferred_language": "en",
        "email": f"{name}@example.org",
        "phone": phone,
    }
    return Step(f"{subject.partition('-')[2]}-added", "user.human.added", subject, data)


def _code(step: str, event_type: str, subject: str, code: str, **more: object) -> Step:
    data = {"code": code, "expiry": DAY, "trigger_origin": ORIGIN, **more}
    return Step(step, event_type, subject, data, notifies=True)
