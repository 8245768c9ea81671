"""What the clients of a schedule append: users, triggers, and what makes messages pointless."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from benchmarks.simulated.options import Options
from benchmarks.simulated.rules import RULES
from event_log.intake import CallerEvent

ORIGIN = "https://login.example"
INSTANCES = ("acme", "beta")
POISON: tuple[tuple[str, dict[str, Any]], ...] = (
    ("user.human.email.code.added", {"expiry": "soon", "trigger_origin": ORIGIN}),
    ("user.human.email.code.sent", {"cause": "soon"}),
)
"""No code understands these, until a version comes that takes "soon" for nothing said."""


class Story:
    """Batches of events, with ids and codes that no other event of the schedule has."""

    def __init__(self, random: Random, options: Options, seed: int) -> None:
        self._random = random
        # These decide what came into the story later, and later still, so that the rest of it stays.
        self._whims = Random(seed + 2)
        self._later = Random(seed + 7)
        self._options = options
        self._number = 0
        self.deadly_codes: list[str] = []

    def batches(self, triggers: int) -> list[tuple[str, list[CallerEvent]]]:
        """(instance, batch), in the order in which one client sends them."""
        random = self._random
        people = [(random.choice(INSTANCES), user) for user in ("ann", "bob")[: random.choice((1, 1, 2))]]
        first = [
            (
                instance,
                [
                    self._event("user.human.added", f"user/{user}", _person(user) | self._organisation()),
                    *self._verified(user),
                ],
            )
            for instance, user in people
        ]
        rest: list[tuple[str, list[CallerEvent]]] = []
        for _ in range(triggers):
            instance, user = random.choice(people)
            rest += [(instance, batch) for batch in self._tale(user)]
        if random.random() < 0.15:
            random.shuffle(rest)
        return [*rest, *first] if random.random() < 0.1 else [*first, *rest]

    def _event(self, event_type: str, subject: str, data: dict[str, Any]) -> CallerEvent:
        self._number += 1
        return CallerEvent(source="auth", id=str(self._number), type=event_type, subject=subject, data=data)

    def _organisation(self) -> dict[str, str]:
        known = self._options.organisations and self._later.choice(("o1", "o1", "o2", ""))
        return {"org_id": known} if known else {}

    def _verified(self, user: str) -> list[CallerEvent]:
        told = ("user.human.email.verified", "user.human.phone.verified")
        return [self._event(name, f"user/{user}", {}) for name in told if self._random.random() < 0.9]

    def _code(self, expiry: int | None = None, *, by_sms: bool = False, **more: Any) -> dict[str, Any]:  # noqa: ANN401  # payloads
        seconds = self._random.choice((8, 12, 20, 60, 90, 300, 1200)) if expiry is None else expiry
        code = {"code": f"C{self._number + 1}"}
        if by_sms and self._later.random() < self._options.made_elsewhere:
            code = {"generator_id": "verification"} | (code if self._later.random() < 0.2 else {})
        if self._later.random() < self._options.unlimited:
            seconds = 0
        told = {**code, "expiry": seconds, "trigger_origin": ORIGIN} | more
        return told if "id" in more else told | self._of_another()

    def _tale(self, user: str) -> list[list[CallerEvent]]:
        """A trigger, and often what follows it."""
        random = self._random
        tale = random.choice(_TALES)
        if self._options.theme and self._later.random() < 0.8:
            tale = self._later.choice(_THEMES[self._options.theme])
        events = tale(self, user)
        if random.random() < 0.12:
            events.append(self._event(random.choice(_LIFE), f"user/{user}", {}))
        if self._whims.random() < 0.15:
            there = self._whims.choice(("user.locked", "user.locked", "user.removed"))
            events += [self._event(name, f"user/{user}", {}) for name in (there, "user.unlocked")]
        if self._options.poison and random.random() < 0.3:
            events.insert(0, self._poisoned(user))
        events += self._what_follows(user, events)
        if random.random() < 0.5:
            return [[event] for event in events]
        return [events]

    def _what_follows(self, user: str, events: list[CallerEvent]) -> list[CallerEvent]:
        """In the stories that have such things."""
        options, later = self._options, self._later
        told = [event for event in events if event.type in RULES]
        more: list[CallerEvent] = []
        if options.poison and told and later.random() < options.undigested:
            more.append(self._event(RULES[told[-1].type].sent, told[-1].subject, {"cause": "soon"}))
        if options.organisations and later.random() < 0.3:
            more.append(self._of_the_surroundings())
        if told and told[0].subject.startswith("session/") and later.random() < options.locks:
            more.append(self._event("user.locked", f"user/{user}", {}))
        return more

    def _owner(self, user: str) -> str:
        """Where sessions are told of at length, each is of one user."""
        return user if self._options.locks or self._options.theme else ""

    def _checks(self) -> int:
        """How often a session is checked: then its stream may be longer than that of its user."""
        return 5 if self._later.random() < self._options.locks else 1

    def _of_the_surroundings(self) -> CallerEvent:
        if self._later.random() < 0.1:
            return self._event("instance.removed", "instance", {})
        subject = self._later.choice(("organisation/o1", "organisation/o1", "organisation/o2"))
        if self._options.poison and self._later.random() < 0.4:
            return self._event("org.policy.notification.changed", subject, {"password_change": "soon"})
        return self._event(self._later.choice(_SURROUNDINGS), subject, {})

    def _poisoned(self, user: str) -> CallerEvent:
        name, data = self._whims.choice(POISON)
        return self._event(name, f"user/{user}", data)

    def _of_another(self) -> dict[str, Any]:
        """A code's id, where none is asked for."""
        return {"code_id": "x"} if self._whims.random() < 0.5 else {}

    def _one_or_two(self, stem: str, user: str, used: str, **more: Any) -> list[CallerEvent]:  # noqa: ANN401  # of the code
        subject = f"user/{user}"
        events = [self._event(f"{stem}.added", subject, self._code(**more))]
        draw = self._random.random()
        if draw < 0.4:
            events.append(self._event(f"{stem}.added", subject, self._code(**more)))
        elif draw < 0.55:
            events.append(self._event(used, subject, {"trigger_origin": ORIGIN} | self._of_another()))
        elif draw < 0.65:  # somebody else has sent it
            events.append(self._event(f"{stem}.sent", subject, self._of_another()))
        return events


def _email_code(story: Story, user: str) -> list[CallerEvent]:
    return story._one_or_two("user.human.email.code", user, "user.human.email.verified")  # noqa: SLF001


def _reset(story: Story, user: str) -> list[CallerEvent]:
    by_sms = story._random.choice((0, 1))  # noqa: SLF001
    return story._one_or_two(  # noqa: SLF001
        "user.human.password.code",
        user,
        "user.human.password.changed",
        notification_type=by_sms,
        by_sms=bool(by_sms),
    )


def _phone_code(story: Story, user: str) -> list[CallerEvent]:
    return story._one_or_two("user.human.phone.code", user, "user.human.phone.verified", by_sms=True)  # noqa: SLF001


def _one_time(story: Story, user: str) -> list[CallerEvent]:
    return story._one_or_two(  # noqa: SLF001
        "user.human.mfa.otp.email.code", user, "user.human.mfa.otp.email.check.succeeded"
    )


def _invitation(story: Story, user: str) -> list[CallerEvent]:
    return story._one_or_two("user.human.invite.code", user, "user.human.invite.check.succeeded", expiry=0)  # noqa: SLF001


def _claimed(story: Story, user: str) -> list[CallerEvent]:
    data = {"user_name": f"{user}@new.example", "trigger_origin": ORIGIN}
    return [story._event("user.domain.claimed", f"user/{user}", data)]  # noqa: SLF001


def _password_changed(story: Story, user: str) -> list[CallerEvent]:
    return [story._event("user.human.password.changed", f"user/{user}", {"trigger_origin": ORIGIN})]  # noqa: SLF001


def _session(story: Story, user: str) -> list[CallerEvent]:
    event, random = story._event, story._random  # noqa: SLF001
    session = f"session/{story._owner(user)}{random.choice((1, 2))}"  # noqa: SLF001
    medium = random.choice(("sms", "email"))
    checked = [event("session.user.checked", session, {"user_id": user}) for _ in range(story._checks())]  # noqa: SLF001
    code = story._code(300, by_sms=medium == "sms")  # noqa: SLF001
    challenge = event(f"session.otp.{medium}.challenged", session, code)
    events = [*checked, challenge] if random.random() < 0.8 else [challenge, *checked]
    if random.random() < 0.3:
        events.append(
            event(random.choice(("session.terminated", f"session.otp.{medium}.checked")), session, {})
        )
    return events


def _passkey(story: Story, user: str) -> list[CallerEvent]:
    event, subject = story._event, f"user/{user}"  # noqa: SLF001
    name = "user.human.passwordless.initialization.code"
    ids = ("a", story._whims.choice(("b", "b", "")))  # noqa: SLF001
    events = [event(f"{name}.requested", subject, story._code(id=code_id)) for code_id in ids]  # noqa: SLF001
    if story._random.random() < 0.5:  # noqa: SLF001
        events.append(event(f"{name}.check.succeeded", subject, {"id": "a"}))
    return events


def _returned(story: Story, user: str) -> list[CallerEvent]:
    data = story._code(300, code_returned=True)  # noqa: SLF001
    return [story._event("user.human.email.code.added", f"user/{user}", data)]  # noqa: SLF001


_TALES: tuple[Callable[[Story, str], list[CallerEvent]], ...] = (
    _email_code, _email_code, _email_code, _reset, _reset, _phone_code, _one_time, _invitation,
    _claimed, _claimed, _password_changed, _password_changed, _session, _passkey, _returned,
)  # fmt: skip
_THEMES = {"text": (_reset, _phone_code), "invitation": (_invitation,), "session": (_session,)}
_LIFE = ("user.locked", "user.removed", "user.unlocked", "user.deactivated")
_SURROUNDINGS = ("org.removed", "org.removed", "org.deactivated", "org.reactivated")


def _person(user: str) -> dict[str, Any]:
    return {
        "user_name": user,
        "first_name": user,
        "last_name": "X",
        "email": f"{user}@example.com",
        "phone": "+41791234567",
    }
