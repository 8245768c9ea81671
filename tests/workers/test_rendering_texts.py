"""Texts: the shipped ones are sound, custom ones may hold markup, and bad ones are refused."""

from __future__ import annotations

import msgspec
import pytest

from tests.workers.rendering_examples import BY_MAIL, BY_SMS, mail_request, read
from workers.rendering.errors import TemplateError
from workers.rendering.layout import template_version
from workers.rendering.placeholders import section_names
from workers.rendering.render import prepare
from workers.rendering.texts import LANGUAGES, MessageTexts, builtin_language, builtin_texts, text_version
from workers.rendering.variables import TEXT_VARIABLES

LINK = "https://my.example/?code=K7P2QX"
TEMPLATE = "https://my.example/?code={{.Code}}"
CUSTOM = MessageTexts(
    subject="Hi {{.FirstName}}",
    title="News & <em>more</em>",
    pre_header="Soon",
    greeting="Dear <strong>{{.FirstName}}</strong>",
    text='One<br>two &lt;3 <a href="https://help.example">help</a>\n\n{{ .Code }}',
    button_text="Go",
    footer="Acme Ltd<br>Main Street",
)


def test_markup_in_a_custom_text_works_in_the_mail() -> None:
    mail = read(mail_request("VerifyEmail", TEMPLATE, FirstName="A<b"), CUSTOM)
    assert mail.subject == "Hi A<b"
    assert "Dear <strong>A&lt;b</strong>" in mail.html
    assert "One<br>two &lt;3" in mail.html
    assert "<title>News &amp; more</title>" in mail.html
    assert mail.text == (
        "Dear A<b\n\nOne\ntwo <3 help (https://help.example)\n\n    K7P2QX\n\n"
        f"Go:\n{LINK}\n\n-- \nAcme Ltd\nMain Street\n"
    )
    assert "Main Street" in mail.page.words


def test_line_breaks_in_a_custom_text_stay_out_of_the_subject() -> None:
    mail = read(mail_request("VerifyEmail"), MessageTexts(subject="A\r\nBcc: e@x.org", text="One\r\n\r\nTwo"))
    assert mail.subject.split() == ["A", "Bcc:", "e@x.org"]
    assert mail.text.startswith("One\n\nTwo\n")


def test_the_footer_and_button_show_only_when_set() -> None:
    bare = MessageTexts(subject="S", text="T")
    mail = read(mail_request("VerifyEmail", TEMPLATE), bare)
    assert mail.text == f"T\n\n{LINK}\n"
    assert mail.page.links == []
    assert 'class="foot"' not in mail.html


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("Hello {{.Nobody}}", r"\{\{\.Nobody\}\}"),
        ("Hello {{.code}}", r"\{\{\.code\}\}"),
        ("Hello {{if .Code}}", r"\{\{if \.Code\}\}"),
        ("Hello {{.Code", "never closed"),
        ("{{#Code}}never ended", r"\{\{#Code\}\}"),
        ("{{#Nobody}}x{{/Nobody}}", r"\{\{#Nobody\}\}"),
        ('<a href="{{.Origin}}">x</a>', "inside a tag"),
        ('<a title=">" href={{.DisplayName}}>x</a>', "inside a tag"),
        ("<{{.DisplayName}}>", "inside a tag"),
        ("<script>{{.DisplayName}}</script>", "<script>"),
        ("<style>p {color: {{.DisplayName}} }</style>", "<style>"),
    ],
)
def test_a_text_is_refused_when_a_placeholder_is_unknown_or_misplaced(text: str, complaint: str) -> None:
    with pytest.raises(TemplateError, match=complaint):
        read(mail_request("VerifyEmail"), MessageTexts(subject="S", text=text))


@pytest.mark.parametrize("language", LANGUAGES)
def test_shipped_texts_name_known_variables_alone(language: str) -> None:
    texts = builtin_language(language)
    assert set(texts) == set(BY_MAIL) | set(BY_SMS)
    for fields in map(msgspec.structs.astuple, texts.values()):
        assert frozenset().union(*map(section_names, fields)) <= TEXT_VARIABLES
    prepare()


@pytest.mark.parametrize("language", ["de-CH", "en_GB", "../../etc/passwd", "", "EN"])
def test_a_language_without_texts_falls_back_to_english(language: str) -> None:
    assert builtin_texts("InitCode", language) == builtin_texts("InitCode", "en")
    request = msgspec.structs.replace(mail_request("InitCode"), language=language)
    assert '<html lang="en">' in read(request).html


def test_versions_name_language_and_content() -> None:
    assert text_version("de").startswith("builtin-en@")
    assert template_version().startswith("builtin@")
    assert template_version() != text_version("en")
