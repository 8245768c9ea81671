"""Templates with holes: ``{{.Name}}``, and parts that depend on whether a value is there.

``{{#Name}}…{{/Name}}`` stays when Name has a value, ``{{^Name}}…{{/Name}}`` when it has none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import TypeAlias

import msgspec

from workers.rendering.errors import TemplateError

_PLACEHOLDER = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")
_SECTION = re.compile(r"\{\{([#^])(\w+)\}\}(.*?)\{\{/\2\}\}", re.DOTALL)
_SECTION_NAME = re.compile(r"\{\{[#^](\w+)\}\}")
_LEFT_OVER = re.compile(r"\{\{(.{0,40}?)\}\}")


class Slot(msgspec.Struct, frozen=True):
    """A hole in a template."""

    name: str


Parts: TypeAlias = tuple[str | Slot, ...]


@lru_cache(maxsize=4096)
def parse(template: str, known: frozenset[str]) -> Parts:
    """Literals and slots in order, no empty literals; raises TemplateError for anything else in braces."""
    pieces = _PLACEHOLDER.split(template)
    parts = tuple(_slot(piece, known) if index % 2 else _literal(piece) for index, piece in enumerate(pieces))
    return tuple(part for part in parts if part != "")


def fill(parts: Parts, value: Callable[[str], str]) -> str:
    return "".join([part if isinstance(part, str) else value(part.name) for part in parts])


def slot_names(parts: Parts) -> tuple[str, ...]:
    """Each once, the first that is met first."""
    return tuple(dict.fromkeys(part.name for part in parts if isinstance(part, Slot)))


def normalised(template: str) -> str:
    """The same with bare line feeds, and no spaces in braces, so that wrapping cannot break a placeholder."""
    return _PLACEHOLDER.sub(r"{{.\1}}", template.replace("\r", ""))


def section_names(template: str) -> frozenset[str]:
    return frozenset(_SECTION_NAME.findall(template))


def without_sections(template: str, present: AbstractSet[str]) -> str:
    """The template with every section kept or dropped, as ``present`` says."""

    def kept(section: re.Match[str]) -> str:
        wants_value, name, inner = section[1] == "#", section[2], section[3]
        return without_sections(inner, present) if (name in present) == wants_value else ""

    return _SECTION.sub(kept, template)


def _slot(name: str, known: frozenset[str]) -> Slot:
    if name not in known:
        raise TemplateError(f"unknown placeholder {{{{.{name}}}}}")
    return Slot(name)


def _literal(piece: str) -> str:
    if "{{" not in piece:
        return piece
    if found := _LEFT_OVER.search(piece):
        raise TemplateError(f"unknown placeholder {{{{{found[1]}}}}}")
    raise TemplateError("a placeholder is opened and never closed")
