"""A message type's mail before its values are known: layout and texts joined once, holes left open."""

from __future__ import annotations

import hashlib
import html
import textwrap
from functools import lru_cache
from importlib.resources import files
from typing import TypedDict

import msgspec
from jinja2 import StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from workers.rendering.errors import TemplateError
from workers.rendering.markup import is_code, paragraphs, plain, refuse_open_tag
from workers.rendering.placeholders import (
    Parts,
    normalised,
    parse,
    section_names,
    slot_names,
    without_sections,
)
from workers.rendering.quoted_printable import EncodedBody, encoded_body
from workers.rendering.texts import MessageTexts
from workers.rendering.variables import TEXT_VARIABLES

_WIDTH = 72
_COLOURS = {"primary": "#5469d4", "background": "#fafafa", "font": "#22292f"}


class MailTemplate(msgspec.Struct, frozen=True):
    """One message type in one language, for one choice of which optional values are there."""

    subject: Parts
    text: EncodedBody
    html: EncodedBody
    names: tuple[str, ...]
    """Of every value that is to be filled in, each once, in the order of need."""


class _Paragraph(TypedDict):
    markup: str
    is_code: bool


@lru_cache
def template_version() -> str:
    """Which layout a message was made with, as ``builtin@0123456789ab``."""
    return f"builtin@{hashlib.sha256(_source().encode()).hexdigest()[:12]}"


@lru_cache(maxsize=1024)
def optional_names(texts: MessageTexts) -> frozenset[str]:
    """Variables whose presence decides what these texts say."""
    names = frozenset[str]().union(*map(section_names, msgspec.structs.astuple(texts)))
    if unknown := names - TEXT_VARIABLES:
        raise TemplateError(f"unknown placeholder {{{{#{min(unknown)}}}}}")
    return names


@lru_cache(maxsize=4096)
def mail_template(texts: MessageTexts, language: str, present: frozenset[str]) -> MailTemplate:
    chosen = _resolved(texts, present)
    subject, text, html = (
        parse(part, TEXT_VARIABLES)
        for part in (chosen.subject, _text_part(chosen), _html_part(chosen, language))
    )
    names = slot_names((*subject, *text, *html))
    return MailTemplate(subject, encoded_body(text), encoded_body(html), names)


def _resolved(texts: MessageTexts, present: frozenset[str]) -> MessageTexts:
    fields = msgspec.structs.asdict(texts)
    return MessageTexts(
        **{name: normalised(without_sections(field, present)).strip() for name, field in fields.items()}
    )


def _text_part(texts: MessageTexts) -> str:
    blocks = [_wrapped(plain(texts.greeting)), *map(_text_paragraph, paragraphs(texts.text))]
    blocks.append(f"{plain(texts.button_text)}:\n{{{{.URL}}}}" if texts.button_text else "{{.URL}}")
    if texts.footer:
        blocks.append(f"-- \n{_wrapped(plain(texts.footer))}")
    return "\n\n".join(block for block in blocks if block) + "\n"


def _text_paragraph(paragraph: str) -> str:
    return f"    {paragraph}" if is_code(paragraph) else _wrapped(plain(paragraph))


def _wrapped(text: str) -> str:
    return "\n".join(
        textwrap.fill(line, _WIDTH, break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    )


def _html_part(texts: MessageTexts, language: str) -> str:
    filled = _layout().render(
        language=language,
        title=plain(texts.title or texts.subject),
        heading=_checked(texts.title),
        pre_header=plain(texts.pre_header),
        greeting=_checked(texts.greeting),
        paragraphs=[
            _Paragraph(markup=_checked(paragraph), is_code=is_code(paragraph))
            for paragraph in paragraphs(texts.text)
        ],
        button_text=_checked(texts.button_text),
        footer=_checked(texts.footer),
        url="{{.URL}}",
        colours=_COLOURS,
    )
    return filled.strip() + "\n"


def _checked(markup: str) -> str:
    """Markup of a text once it is known to be safe to fill with escaped values."""
    refuse_open_tag(markup)
    plain(markup)
    return markup


def slot_markup(value: str) -> str:
    """A value as HTML, in text as in a quoted attribute."""
    return html.escape(value)


@lru_cache
def _layout() -> Template:
    environment = ImmutableSandboxedEnvironment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    # A layout sees plain values only: no functions to reach out with, none to burn time or memory with.
    environment.globals.clear()
    environment.tests.clear()
    environment.filters = {"safe": environment.filters["safe"]}
    return environment.from_string(_source())


def _source() -> str:
    return files("workers.rendering").joinpath("layout.html.j2").read_text("utf-8")
