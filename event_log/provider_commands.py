"""What an administrator asks of an instance's SMS providers: each wish becomes an event of its stream."""

from __future__ import annotations

from typing import Any

import msgspec

from event_log.errors import LogUnavailable
from event_log.intake import Appended, CallerEvent, append
from event_log.log import Log
from event_log.provider_settings import SUBJECT, AccountPause, Stored, account_pauses, lift_pause, newest
from event_log.sql import load
from notification_domain import identity
from notification_domain.provider_events import ProviderFact, type_of
from notification_domain.providers import Providers, Refusal, decide

_queries = load("event_log", "provider_settings.sql")
_TRIES = 20
_SOURCE = "tidings"


class Overview(msgspec.Struct, frozen=True):
    """An instance's providers, and which of their accounts are paused."""

    providers: Providers
    pauses: dict[str, AccountPause]
    unreadable: str = ""


def overview(log: Log, instance: str) -> Overview:
    with log.database.connection() as connection:
        cursor = connection.cursor()
        stored = newest(log, cursor, [instance], {})[instance]
        return Overview(stored.providers, account_pauses(cursor, instance), stored.unreadable)


def carry_out(log: Log, instance: str, wish: ProviderFact, by: str) -> Refusal | None:
    """None: it is as was wished. ``by`` is the id of the key that asks; raises LogUnavailable."""
    for _ in range(_TRIES):
        version, stored = _standing(log, instance)
        facts = decide(stored.providers, wish)
        if not isinstance(facts, tuple):
            return facts
        if not facts or _stored(log, instance, facts, version, by):
            return None
    raise LogUnavailable(f"the settings of {instance} move too fast to be caught")


def _standing(log: Log, instance: str) -> tuple[int, Stored]:
    """The version first: whatever comes in between makes the append fail."""
    with log.database.connection() as connection:
        cursor = connection.cursor()
        cursor.execute(_queries.version, {"stream": identity.stream_id(instance, SUBJECT)}, prepare=True)
        row = cursor.fetchone()
        assert row
        return row[0], newest(log, cursor, [instance], {})[instance]


def _stored(log: Log, instance: str, facts: tuple[ProviderFact, ...], version: int, by: str) -> bool:
    """Whether nobody came first."""
    events = [_event(log, fact, version + index, by) for index, fact in enumerate(facts)]
    answer = append(log, instance, events)
    if not (isinstance(answer, tuple) and all(isinstance(one, Appended) for one in answer)):
        return False
    with log.database.connection() as connection:
        for fact in facts:
            lift_pause(connection.cursor(), instance, fact.id)
    return True


def _event(log: Log, fact: ProviderFact, version: int, by: str) -> CallerEvent:
    return CallerEvent(
        source=_SOURCE,
        id=log.chance(16).hex(),
        type=type_of(fact),
        subject=SUBJECT,
        data=_data(fact),
        extensions={"tidingsby": by},
        expected_version=version,
    )


def _data(fact: ProviderFact) -> dict[str, Any]:
    """As callers spell it, without what is not said."""
    given = msgspec.structs.asdict(fact)
    return {
        _camel(name): value
        for name, value in given.items()
        if value is not None and name != "organisation_id"
    }


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
