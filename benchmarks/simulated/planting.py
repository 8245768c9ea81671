"""Where planted bugs are noted, and set in force for a while."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

from benchmarks.simulated import model
from benchmarks.simulated.patches import patched

Change: TypeAlias = tuple[Any, str, Any]
"""Whose attribute, its name, and what takes its place."""
Plant: TypeAlias = Callable[[], tuple[Change, ...]]
_plants: dict[str, Plant] = {}


def planted(name: str) -> AbstractContextManager[None]:
    """The bug stands while the context is open."""
    return patched(_plants[name]())


def names() -> list[str]:
    return list(_plants)


def plant(name: str) -> Callable[[Plant], Plant]:
    def note(one: Plant) -> Plant:
        _plants[name] = one
        return one

    return note


def statement(name: str, function: Any) -> Change:  # noqa: ANN401  # a modelled statement
    """Another function for a named statement."""
    text = next(text for text, (known, _) in model.BY_TEXT.items() if known == name)
    return model, "BY_TEXT", model.BY_TEXT | {text: (name, function)}
