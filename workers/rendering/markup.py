"""Texts with markup: their paragraphs, and how they read without it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from workers.rendering.errors import TemplateError
from workers.rendering.placeholders import normalised

_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_SPACE = re.compile(r"[ \t\r\n\f]+")
_CODE = re.compile(r"\{\{\.(?:Code|OTP)\}\}")
_BREAKS = frozenset({"br", "p", "div", "li", "tr"})
_ACTIVE = frozenset({"script", "style"})


def paragraphs(markup: str) -> list[str]:
    """What blank lines divide, placeholders normalised."""
    return [part.strip() for part in _BLANK_LINE.split(normalised(markup)) if part.strip()]


def is_code(paragraph: str) -> bool:
    """Whether the paragraph is a code to copy and nothing else."""
    return _CODE.fullmatch(paragraph) is not None


def plain(markup: str) -> str:
    """The words alone: tags gone, line breaks kept, entities resolved, the target after a link's label.

    Raises TemplateError for a placeholder inside a tag: no escaping would be right for every such place.
    """
    reader = _Reader()
    reader.feed(markup)
    reader.close()
    return "\n".join(line.strip() for line in "".join(reader.words).split("\n")).strip()


def refuse_open_tag(markup: str) -> None:
    """Raises TemplateError for a placeholder after a ``<`` that nothing has closed yet."""
    for index in (found.start() for found in re.finditer(r"\{\{", markup)):
        if markup.rfind("<", 0, index) > markup.rfind(">", 0, index):
            raise TemplateError("a placeholder stands inside a tag")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self._target = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _ACTIVE:
            raise TemplateError(f"a text may not contain <{tag}>")
        if any("{{" in (value or "") for _, value in attrs):
            raise TemplateError("a placeholder stands inside a tag")
        if tag in _BREAKS:
            self.words.append("\n")
        if tag == "a":
            self._target = dict(attrs).get("href") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._target:
            self.words.append(f" ({self._target})")
            self._target = ""

    def handle_data(self, data: str) -> None:
        self.words.append(_SPACE.sub(" ", data))
