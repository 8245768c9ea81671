"""given(history) / when(command) / then(events): an example told in the domain's words."""

from __future__ import annotations

from notification_domain.notification import Command, Progress, State, decide, fold
from notification_domain.notification_events import Event


class Story:
    """What happened so far, and what the latest command added to it."""

    def __init__(self, history: tuple[Event, ...], latest: tuple[Event, ...] = ()) -> None:
        self.history = history
        self.latest = latest
        self.state: State = fold(history)

    @property
    def progress(self) -> Progress:
        progress = getattr(self.state, "progress", None)
        assert isinstance(progress, Progress)
        return progress

    def when(self, command: Command) -> Story:
        events = decide(self.state, command)
        return Story(self.history + events, events)

    def then(self, *expected: Event) -> Story:
        """Nothing expected: the command no longer applied."""
        assert self.latest == expected
        return self

    def is_now(self, kind: type[State]) -> Story:
        assert type(self.state) is kind
        return self


def given(*history: Event) -> Story:
    return Story(history)
