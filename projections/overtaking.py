"""Which older notifications a source event bears on, so that a worker looks at them again at once."""

from __future__ import annotations

from event_log.due_queue import Overtaken
from event_log.envelope import RecordedEvent, SourceEvent
from notification_domain.source_events import CodeAdded, CodeUsed, InvalidData, canonical_type, interpret
from notification_domain.triggers import TRIGGERS, Trigger

_OVERTAKES: dict[str, tuple[Trigger, ...]] = {
    event_type: tuple(t for t in TRIGGERS if event_type in t.superseded_by | t.used_by)
    for event_type in {name for t in TRIGGERS for name in t.superseded_by | t.used_by}
}

_MAKES_REACHABLE = frozenset({"user.human.added", "user.human.selfregistered", "session.user.checked"})
"""What waited for its recipient to become known can go on."""


def overtakes(event: RecordedEvent) -> list[Overtaken]:
    """Which older notifications a source event makes pointless, or possible."""
    source = event.fact
    if not isinstance(source, SourceEvent):
        return []
    canonical = canonical_type(source.type)
    if canonical in _MAKES_REACHABLE:
        return [Overtaken(event.stream, event.version, "", event.recorded_at)]
    return [
        Overtaken(event.stream, event.version, _supersede_key(trigger, source), event.recorded_at)
        for trigger in _OVERTAKES.get(canonical, ())
    ]


def _supersede_key(trigger: Trigger, source: SourceEvent) -> str:
    return f"{trigger.rule} {_code_id(source)}".strip() if trigger.per_code_id else trigger.rule


def _code_id(source: SourceEvent) -> str:
    try:
        fact = interpret(source.type, source.data)
    except InvalidData:
        return ""
    return fact.code_id if isinstance(fact, CodeUsed | CodeAdded) else ""
