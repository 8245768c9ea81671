"""What the clients of a schedule append: users, triggers, and what makes messages pointless."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

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

    def __init__(self, random: Random, whims: Random, *, poison: bool) -> None:
        """``whims`` decides what came into the story later, so that the rest of a seed's story stays."""
        self._random = random
        self._whims = whims
        self._poison = poison
        self._number = 0
        self.deadly_codes: list[str] = []

    def batches(self, triggers: int) -> list[tuple[str, list[CallerEvent]]]:
        """(instance, batch), in the order in which one client sends them."""
        random = self._random
        people = [(random.choice(INSTANCES), user) for user in ("ann", "bob")[: random.choice((1, 1, 2))]]
        first = [
            (
                instance,
                [self._event("user.human.added", f"user/{user}", _person(user)), *self._verified(user)],
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

    def _verified(self, user: str) -> list[CallerEvent]:
        told = ("user.human.email.verified", "user.human.phone.verified")
        return [self._event(name, f"user/{user}", {}) for name in told if self._random.random() < 0.9]

    def _code(self, expiry: int | None = None, **more: Any) -> dict[str, Any]:  # noqa: ANN401  # payloads
        seconds = self._random.choice((8, 12, 20, 60, 90, 300, 1200)) if expiry is None else expiry
        told = {"code": f"C{self._number + 1}", "expiry": seconds, "trigger_origin": ORIGIN} | more
        return told if "id" in more else told | self._of_another()

    def _tale(self, user: str) -> list[list[CallerEvent]]:
        """A trigger, and often what follows it."""
        random = self._random
        tale = random.choice(_TALES)
        events = tale(self, user)
        if random.random() < 0.12:
            events.append(self._event(random.choice(_LIFE), f"user/{user}", {}))
        if self._whims.random() < 0.15:
            there = self._whims.choice(("user.locked", "user.locked", "user.removed"))
            events += [self._event(name, f"user/{user}", {}) for name in (there, "user.unlocked")]
        if self._poison and random.random() < 0.3:
            events.insert(0, self._poisoned(user))
        if random.random() < 0.5:
            return [[event] for event in events]
        return [events]

    def _poisoned(self, user: str) -> CallerEvent:
        name, data = self._whims.choice(POISON)
        return self._event(name, f"user/{user}", data)

    def _of_another(self) -> dict[str, Any]:
        """A code's id, where none is asked for."""
        return {"code_id": "x"} if self._whims.random() < 0.5 else {}

    def _one_or_two(self, stem: str, user: str, used: str, **more: Any) -> list[CallerEvent]:  # noqa: ANN401
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
        "user.human.password.code", user, "user.human.password.changed", notification_type=by_sms
    )


def _phone_code(story: Story, user: str) -> list[CallerEvent]:
    return story._one_or_two("user.human.phone.code", user, "user.human.phone.verified")  # noqa: SLF001


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
    session = f"session/{random.choice((1, 2))}"
    medium = random.choice(("sms", "email"))
    checked = event("session.user.checked", session, {"user_id": user})
    challenge = event(f"session.otp.{medium}.challenged", session, story._code(300))  # noqa: SLF001
    events = [checked, challenge] if random.random() < 0.8 else [challenge, checked]
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
_LIFE = ("user.locked", "user.removed", "user.unlocked", "user.deactivated")


def _person(user: str) -> dict[str, Any]:
    return {
        "user_name": user,
        "first_name": user,
        "last_name": "X",
        "email": f"{user}@example.com",
        "phone": "+41791234567",
    }
