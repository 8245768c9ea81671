"""The built-in texts, one file a language in ``languages``, and which of them a message gets."""

from __future__ import annotations

import hashlib
import tomllib
from functools import lru_cache
from importlib.resources import files

import msgspec

from workers.rendering.errors import TemplateError

LANGUAGES = ("en",)
FALLBACK_LANGUAGE = "en"


class MessageTexts(msgspec.Struct, frozen=True, rename="pascal", forbid_unknown_fields=True):
    """One message type in one language. Fields hold markup, except ``subject`` and what goes by SMS.

    A text message is ``sms_text``; a type without subject travels by SMS alone, and ``text`` is it.
    """

    text: str
    title: str = ""
    pre_header: str = ""
    subject: str = ""
    greeting: str = ""
    button_text: str = ""
    footer: str = ""
    sms_text: str = ""


def supported_language(wanted: str) -> str:
    """The language itself, else without its region (de-CH is read as de), else English."""
    if wanted in LANGUAGES:
        return wanted
    language = wanted.replace("_", "-").lower()
    for candidate in (language, language.partition("-")[0]):
        if candidate in LANGUAGES:
            return candidate
    return FALLBACK_LANGUAGE


def builtin_texts(message_type: str, language: str) -> MessageTexts:
    texts = builtin_language(supported_language(language)).get(message_type)
    if texts is None:
        raise TemplateError(f"no texts for the message type {message_type}")
    return texts


@lru_cache
def builtin_language(language: str) -> dict[str, MessageTexts]:
    """Every message type's texts; ``language`` is one of LANGUAGES."""
    return msgspec.convert(tomllib.loads(_source(language)), dict[str, MessageTexts])


@lru_cache
def text_version(language: str) -> str:
    """Which texts a message was made of, as ``builtin-en@0123456789ab``."""
    supported = supported_language(language)
    digest = hashlib.sha256(_source(supported).encode()).hexdigest()
    return f"builtin-{supported}@{digest[:12]}"


def _source(language: str) -> str:
    return files("workers.rendering").joinpath("languages", f"{language}.toml").read_text("utf-8")
