"""Whether an event's data says what its type promises; what nobody could understand later is refused now."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from api.strict_json import pointer_to
from notification_domain.secret_fields import split
from notification_domain.source_events import CodeAdded, Fact, InvalidData, interpret

NAMED_SECRET = "tidingssecret"  # noqa: S105  # the attribute's name

_PLACEHOLDER = re.compile(r"\{\{[^{}]*\}\}")
_URL_TEMPLATE = re.compile(r"""(?:https?://|\{\{)[^\s\x00-\x1f\x7f<>"\\^`|]+""", re.IGNORECASE)
_NO_EVENT = UUID(int=0)


class WrongEvent(Exception):
    """One fault of one event; ``pointer`` begins at the event."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.pointer = pointer
        self.detail = detail


def check_meaning(event_type: str, data: dict[str, Any], named: Sequence[str]) -> None:
    """Raises WrongEvent; a type that means nothing to us may hold anything. ``named`` are secret fields."""
    fact = _understood(event_type, data)
    if isinstance(fact, CodeAdded):
        _check_code(fact, data)
    if fact is not None:
        _check_url_template(fact, data)
        if named or not isinstance(fact, CodeAdded):
            _check_as_stored(event_type, data, named)


def _understood(event_type: str, data: dict[str, Any]) -> Fact | None:
    try:
        return interpret(event_type, data)
    except InvalidData as invalid:
        raise WrongEvent(f"/data{invalid.pointer}", _lower_first(invalid.message)) from None


def _check_code(fact: CodeAdded, data: dict[str, Any]) -> None:
    if not fact.code and not fact.code_returned and not fact.generator_id:
        raise WrongEvent("/data/code", "is required, unless code_returned or generator_id is given")
    if fact.code and "code" not in data:
        # Only this spelling is kept out of the log.
        spelled = next(name for name in data if name.lower() == "code")
        raise WrongEvent(pointer_to(("data", spelled)), "must be spelled 'code'")


def _check_url_template(fact: Fact, data: dict[str, Any]) -> None:
    """Plausible only: the names in it are the business of whoever fills them in."""
    template: str = getattr(fact, "url_template", "")
    if template and not _URL_TEMPLATE.fullmatch(_PLACEHOLDER.sub("{{}}", template)):
        name = next(name for name, value in data.items() if value == template)
        raise WrongEvent(
            pointer_to(("data", name)), "must be an http or https address, with {{.Name}} in it or not"
        )


def _check_as_stored(event_type: str, data: dict[str, Any], named: Sequence[str]) -> None:
    """Whoever reads the log gets the data without its secrets and must understand the same."""
    public, _ = split(_NO_EVENT, event_type, data)
    if not named and public == data:
        return
    kept = _understood(event_type, public)
    if not named:
        return
    hidden = data | dict.fromkeys(set(named) - {"code"}, "hidden")
    try:
        understood = interpret(event_type, split(_NO_EVENT, event_type, hidden)[0])
    except InvalidData:
        understood = None
    if understood != kept:
        raise WrongEvent(
            f"/{NAMED_SECRET}", f"names a field that events of type {event_type} are understood by"
        )


def _lower_first(message: str) -> str:
    """A decoder's message as the end of a sentence that begins with the pointer."""
    return f"is wrong: {message[0].lower()}{message[1:]}" if message[:1].isupper() else message
