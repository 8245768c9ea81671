"""From a request to the finished message: pure, and the same bytes for the same input."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from workers.channels.port import Mail, TextMessage
from workers.rendering.errors import TemplateError
from workers.rendering.layout import mail_template, optional_names, slot_markup
from workers.rendering.links import default_template, finished_link, link_names
from workers.rendering.mail import Content, Envelope, assemble
from workers.rendering.placeholders import Parts, fill, parse, slot_names, without_sections
from workers.rendering.quoted_printable import encoded
from workers.rendering.texts import (
    LANGUAGES,
    MessageTexts,
    builtin_language,
    builtin_texts,
    supported_language,
)
from workers.rendering.variables import TEXT_VARIABLES, completed, is_present, shown, value_of


class RenderRequest(msgspec.Struct, frozen=True, gc=False):
    """What one message is to say, and to whom."""

    message_type: str
    channel: str
    """``email`` or ``sms``."""
    arguments: dict[str, str]
    """Variables by their names in texts (``DisplayName``), the plain code among them."""
    url_template: str = ""
    """From the source event; wins over the default link."""
    language: str = "en"
    recipient: str = ""
    """A bare address or an E.164 number."""


def render(
    request: RenderRequest, envelope: Envelope, texts: MessageTexts | None = None
) -> Mail | TextMessage:
    """The finished message, in the built-in texts unless others are given; raises TemplateError."""
    chosen = texts or builtin_texts(request.message_type, request.language)
    match request.channel:
        case "email":
            return _mail(request, envelope, chosen)
        case "sms":
            return _text_message(request, chosen)
        case _:
            raise TemplateError("a message is rendered for email or sms alone")


@lru_cache(maxsize=1024)
def needs_origin(message_type: str, channel: str, url_template: str) -> bool:
    """Whether the message cannot be made without Origin, or without the Domain that follows from it.

    Raises TemplateError, as rendering would.
    """
    texts = builtin_texts(message_type, "en")
    fields = (_sms_template(message_type, texts),) if channel == "sms" else msgspec.structs.astuple(texts)
    names = {name for field in fields for name in _all_names(field)}
    if channel == "email" or "URL" in names:
        names.update(link_names(url_template) if url_template else ("Origin",))
    # The claimed domain is the recipient's own.
    return bool(names & ({"Origin"} if message_type == "DomainClaimed" else {"Origin", "Domain"}))


def prepare() -> None:
    """Read and join everything that is shipped, so that no message has to wait for it."""
    for language in LANGUAGES:
        for texts in builtin_language(language).values():
            if texts.subject:
                mail_template(texts, language, optional_names(texts))


def _mail(request: RenderRequest, envelope: Envelope, texts: MessageTexts) -> Mail:
    if not texts.subject:
        raise TemplateError(f"{request.message_type} has no e-mail text")
    arguments = completed(request.message_type, request.arguments)
    arguments["URL"] = _link(request, arguments)
    template = mail_template(texts, supported_language(request.language), _present(texts, arguments))
    values = {name: shown(value_of(name, arguments)) for name in template.names}
    plain = {name: encoded(value) for name, value in values.items()}
    content = Content(
        subject=shown(fill(template.subject, values.__getitem__)),
        text=template.text.filled(plain),
        html=template.html.filled(plain | _encoded_markup(values)),
    )
    return assemble(request.recipient, envelope, content)


def _encoded_markup(values: Mapping[str, str]) -> dict[str, bytes]:
    """The few values that are not the same in HTML."""
    return {
        name: encoded(markup) for name, value in values.items() if (markup := slot_markup(value)) != value
    }


def _text_message(request: RenderRequest, texts: MessageTexts) -> TextMessage:
    arguments = completed(request.message_type, request.arguments)
    parts = _sms_parts(_sms_template(request.message_type, texts), _present(texts, arguments))
    if "URL" in slot_names(parts):
        arguments["URL"] = _link(request, arguments)
    return TextMessage(request.recipient, fill(parts, lambda name: shown(value_of(name, arguments))))


def _link(request: RenderRequest, arguments: Mapping[str, str]) -> str:
    return finished_link(request.url_template or default_template(request.message_type, arguments), arguments)


def _present(texts: MessageTexts, arguments: Mapping[str, str]) -> frozenset[str]:
    return frozenset([name for name in optional_names(texts) if is_present(name, arguments)])


def _sms_template(message_type: str, texts: MessageTexts) -> str:
    template = texts.sms_text or ("" if texts.subject else texts.text)
    if not template:
        raise TemplateError(f"{message_type} has no SMS text")
    return template


@lru_cache(maxsize=1024)
def _sms_parts(template: str, present: frozenset[str]) -> Parts:
    return parse(without_sections(template, present).strip(), TEXT_VARIABLES)


def _all_names(template: str) -> tuple[str, ...]:
    return slot_names(parse(without_sections(template, TEXT_VARIABLES), TEXT_VARIABLES))
