"""Links: the right page, values encoded, and nothing but http and https."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.rendering.durations import format_duration
from workers.rendering.errors import TemplateError
from workers.rendering.links import default_template, finished_link

ORIGIN = "https://id.acme.example"


def test_a_session_code_leads_to_the_sessions_page_and_any_other_into_the_login() -> None:
    known = {"Origin": ORIGIN, "LoginName": "ada@x", "Code": "1", "AuthRequestID": "r"}
    session = {**known, "SessionID": "s"}
    assert (
        finished_link(default_template("VerifyEmailOTP", session), session)
        == f"{ORIGIN}/otp/verify?loginName=ada%40x&code=1"
    )
    assert (
        finished_link(default_template("VerifyEmailOTP", known), known)
        == f"{ORIGIN}/ui/login/mfa/otp/verify?authRequestID=r&code=1&selectedProvider=4"
    )


@pytest.mark.parametrize("message_type", ["VerifyPhone", "VerifySMSOTP", "Nonsense"])
def test_a_message_for_the_phone_has_no_link(message_type: str) -> None:
    with pytest.raises(TemplateError, match="no link"):
        default_template(message_type, {})


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_a_value_comes_back_whole_from_the_query_and_changes_nothing_else(value: str) -> None:
    link = finished_link("https://x.example/p?a={{.Code}}&b={{.OrgID}}#f", {"Code": value, "OrgID": value})
    assert parse_qsl(urlsplit(link).query, keep_blank_values=True) == [("a", value), ("b", value)]
    assert urlsplit(link)[:3] == ("https", "x.example", "/p")
    assert urlsplit(link).fragment == "f"
    assert link.isascii()


def test_a_value_in_the_path_stays_one_segment() -> None:
    assert (
        finished_link("https://x.example/{{.Code}}/y", {"Code": "../?#/"})
        == "https://x.example/..%2F%3F%23%2F/y"
    )


def test_an_origin_is_kept_at_the_start_and_encoded_elsewhere() -> None:
    known = {"Origin": f"{ORIGIN}/", "Domain": "id.acme.example:8080"}
    assert (
        finished_link("{{.Origin}}/a?back={{.Origin}}", known)
        == f"{ORIGIN}/a?back=https%3A%2F%2Fid.acme.example%2F"
    )
    assert finished_link("https://{{.Domain}}/a", known) == "https://id.acme.example:8080/a"


@pytest.mark.parametrize(
    "template",
    [
        "",
        "/verify?code={{.Code}}",
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://x.example/",
        "//x.example/",
        "https:///path",
        "https://user:word@x.example/",
        "https://x.example\\@evil.example/",
        "https://x.example/a b",
        'https://x.example/"onclick=',
        "https://x.example/\r\nBcc: x",
        "https://x.example/\x00",
        "{{.Code}}://x.example/",
        " https://x.example/",
    ],
)
def test_a_link_is_refused_when_it_is_not_plainly_http(template: str) -> None:
    with pytest.raises(TemplateError, match="not an http or https address"):
        finished_link(template, {"Code": "secret"})


@pytest.mark.parametrize(
    "origin",
    ["javascript:alert(1)//", "id.acme.example", "https://x.example?a", "https://x\ny", "https://a@b"],
)
def test_an_origin_is_refused_when_it_is_no_origin(origin: str) -> None:
    with pytest.raises(TemplateError, match="Origin is not") as refused:
        finished_link("{{.Origin}}/x", {"Origin": origin})
    assert origin not in str(refused.value)


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("https://x.example/{{.Nobody}}", r"\{\{\.Nobody\}\}"),
        ("https://x.example/{{.URL}}", r"\{\{\.URL\}\}"),
        ("https://x.example/{{Code}}", r"\{\{Code\}\}"),
        ("https://x.example/{{#Code}}a{{/Code}}", r"\{\{#Code\}\}"),
        ("https://x.example/{{.Code", "never closed"),
        ("https://x.example/{{.Code}}{{.OTP}}", "needs OTP"),
    ],
)
def test_a_template_is_refused_by_the_name_of_its_placeholder_and_no_value(
    template: str, complaint: str
) -> None:
    with pytest.raises(TemplateError, match=complaint) as refused:
        finished_link(template, {"Code": "K7P2QX"})
    assert "K7P2QX" not in str(refused.value)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, ""),
        (0, ""),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (90, "90 seconds"),
        (121, "2 minutes"),
        (300, "5 minutes"),
        (3600, "1 hour"),
        (5400, "90 minutes"),
        (7200, "2 hours"),
        (9000, "2 hours"),
        (72 * 3600, "72 hours"),
        (96 * 3600, "4 days"),
        (100 * 3600, "4 days"),
    ],
)
def test_a_duration_reads_as_people_say_it(seconds: int, said: str) -> None:
    assert format_duration(seconds) == said
