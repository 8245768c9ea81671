"""What people read: each message type, its link, and what becomes of names in it."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from tests.workers.rendering_examples import ARGUMENTS, BY_MAIL, BY_SMS, ENVELOPE, mail_request, read
from workers.channels.port import TextMessage
from workers.rendering.errors import TemplateError
from workers.rendering.render import RenderRequest, needs_origin, render

LOGIN = "https://id.acme.example:8443/ui/login"
DEFAULT_LINKS = {
    "InitCode": f"{LOGIN}/user/init?userID=u%201&loginname=ada%2Bx%40acme.example&code=K7P2QX&orgID=o%261"
    "&passwordset=true&authRequestID=auth%3D1",
    "PasswordReset": f"{LOGIN}/password/init?userID=u%201&code=K7P2QX&orgID=o%261&authRequestID=auth%3D1",
    "VerifyEmail": f"{LOGIN}/mail/verification?userID=u%201&code=K7P2QX&orgID=o%261&authRequestID=auth%3D1",
    "VerifyEmailOTP": f"{LOGIN}/mfa/otp/verify?authRequestID=auth%3D1&code=K7P2QX&selectedProvider=4",
    "DomainClaimed": f"{LOGIN}/login?orgID=o%261",
    "PasswordlessRegistration": f"{LOGIN}/login/passwordless/init?userID=u%201&orgID=o%261"
    "&codeID=c1&code=K7P2QX",
    "PasswordChange": "https://id.acme.example:8443/ui/console?login_hint=ada%2Bx%40acme.example",
    "InviteUser": f"{LOGIN}/user/invite?userID=u%201&loginname=ada%2Bx%40acme.example&code=K7P2QX&orgID=o%261"
    "&authRequestID=auth%3D1",
}
SUBJECTS = {
    "InitCode": "Activate your account",
    "PasswordReset": "Reset your password",
    "VerifyEmail": "Confirm your e-mail address",
    "VerifyEmailOTP": "Your code to sign in",
    "DomainClaimed": "Your login name has changed",
    "PasswordlessRegistration": "Add a passkey to your account",
    "PasswordChange": "Your password was changed",
    "InviteUser": "Invitation to APP",
}


def sms(message_type: str, url_template: str = "", **changes: str) -> str:
    request = RenderRequest(
        message_type, "sms", {**ARGUMENTS, **changes}, url_template, recipient="+41791234567"
    )
    made = render(request, ENVELOPE)
    assert isinstance(made, TextMessage)
    assert made.recipient == "+41791234567"
    return made.body


@pytest.mark.parametrize("message_type", BY_MAIL)
def test_a_mail_says_the_same_in_both_parts(message_type: str) -> None:
    mail = read(mail_request(message_type))
    assert mail.subject == SUBJECTS[message_type]
    assert mail.text.startswith("Hello Ada Lovelace,\n\n")
    assert mail.text.endswith(f"\n{DEFAULT_LINKS[message_type]}\n")
    assert mail.page.links == [DEFAULT_LINKS[message_type]]
    assert "Hello Ada Lovelace," in mail.page.words
    assert max(map(len, mail.text.removesuffix(f"{DEFAULT_LINKS[message_type]}\n").split("\n"))) <= 80
    assert "{{" not in mail.text + mail.html


@pytest.mark.parametrize(
    "message_type", ["InitCode", "PasswordReset", "VerifyEmail", "VerifyEmailOTP", "InviteUser"]
)
def test_a_code_stands_alone_to_be_copied_when_the_type_has_one(message_type: str) -> None:
    mail = read(mail_request(message_type))
    assert "\n\n    K7P2QX\n\n" in mail.text
    assert ">K7P2QX</div>" in mail.html
    assert "5 minutes" in mail.text


@pytest.mark.parametrize("message_type", BY_SMS)
def test_a_text_message_is_plain_ascii_without_markup(message_type: str) -> None:
    body = sms(message_type)
    assert body.isascii()
    assert body == body.strip()
    assert "<" not in body
    assert "{{" not in body


def test_a_sign_in_code_by_sms_ends_with_the_line_browsers_fill_in() -> None:
    assert sms("VerifySMSOTP", OTP="123456", Code="").endswith("\n\n@id.acme.example #123456")
    assert sms("VerifySMSOTP", Domain="acme.example").endswith("\n@acme.example #K7P2QX")


def test_a_name_cannot_add_lines_to_a_text_message() -> None:
    assert "\n" not in sms("InviteUser", ApplicationName="APP\n@evil.example #1")


def test_the_password_reset_by_sms_holds_the_code_and_no_link() -> None:
    body = sms("PasswordReset", url_template="https://elsewhere.example/{{.Code}}")
    assert "K7P2QX" in body
    assert "http" not in body


@pytest.mark.parametrize("message_type", ["VerifyPhone", "VerifySMSOTP"])
def test_a_code_for_a_phone_is_refused_when_sent_by_mail(message_type: str) -> None:
    with pytest.raises(TemplateError, match="no e-mail text"):
        render(mail_request(message_type), ENVELOPE)


def test_a_text_message_is_refused_when_the_type_has_none() -> None:
    with pytest.raises(TemplateError, match="VerifyEmail has no SMS text"):
        sms("VerifyEmail")


def test_unknown_types_and_channels_are_refused() -> None:
    with pytest.raises(TemplateError, match="no texts"):
        render(mail_request("Nonsense"), ENVELOPE)
    with pytest.raises(TemplateError, match="email or sms"):
        render(msgspec.structs.replace(mail_request("InitCode"), channel="pigeon"), ENVELOPE)


@pytest.mark.parity("S5.e")
def test_a_sentence_is_left_out_when_its_value_is_missing() -> None:
    mail = read(mail_request("VerifyEmail", Expiry="", DisplayName=" \n", LastEmail=""))
    assert mail.text.startswith("Hello,\n\nThis address was entered")
    assert "The code works once.\n" in mail.text
    assert "valid for" not in mail.text + mail.html
    assert read(mail_request("InviteUser", ApplicationName="")).subject == "You are invited"


# RND-1
@pytest.mark.parametrize("origin", ["https://trigger.example", "http://primary.example:8080"])
@pytest.mark.parametrize("message_type", BY_MAIL)
@pytest.mark.parity("RND-1")
def test_the_default_link_begins_with_the_origin(message_type: str, origin: str) -> None:
    (link,) = read(mail_request(message_type, Origin=origin)).page.links
    assert link.startswith(f"{origin}/")


@pytest.mark.parametrize(
    "message_type", ["InitCode", "VerifyEmail", "PasswordReset", "VerifyEmailOTP", "InviteUser"]
)
@pytest.mark.parity("RND-1")
def test_the_default_link_carries_the_auth_request_when_there_is_one(message_type: str) -> None:
    (link,) = read(mail_request(message_type, AuthRequestID="a/7")).page.links
    assert parse_qs(urlsplit(link).query)["authRequestID"] == ["a/7"]


@pytest.mark.parametrize("message_type", BY_MAIL)
@pytest.mark.parity("RND-1")
def test_the_events_template_wins_over_the_default_link(message_type: str) -> None:
    (link,) = read(mail_request(message_type, "https://my.example/{{ .Code }}?org={{.OrgID}}")).page.links
    assert link == "https://my.example/K7P2QX?org=o%261"


# RND-2
@pytest.mark.parity("RND-2")
def test_tags_in_a_name_are_shown_and_not_obeyed() -> None:
    name = """<b onclick="x">Bob</b> & 'co'<script>alert(1)</script>"""
    mail = read(mail_request("VerifyEmail", DisplayName=name))
    assert "script" not in mail.page.tags
    assert f"Hello {name}," in mail.page.words
    assert mail.text.startswith(f"Hello {name},")


def test_a_placeholder_in_a_value_stays_words() -> None:
    assert "Hello {{.Code}}{{/x}}," in read(mail_request("VerifyEmail", DisplayName="{{.Code}}{{/x}}")).text
    assert read(mail_request("InviteUser", ApplicationName="{{.Code}}")).subject == "Invitation to {{.Code}}"


def test_a_name_cannot_break_or_reorder_lines() -> None:
    mail = read(mail_request("VerifyEmail", DisplayName="A\r\n\r\nB\u202eC\u2028D\x00E\ud800"))
    assert mail.text.startswith("Hello A BC D E\ufffd,\n\n")


# RND-4 and RND-5
@pytest.mark.parametrize("message_type", ["VerifyEmail", "PasswordlessRegistration"])
@pytest.mark.parity("RND-4")
def test_the_default_link_names_user_code_and_org_without_a_template(message_type: str) -> None:
    (link,) = read(mail_request(message_type)).page.links
    query = parse_qs(urlsplit(link).query)
    assert (query["userID"], query["code"], query["orgID"]) == (["u 1"], ["K7P2QX"], ["o&1"])


@pytest.mark.parametrize("message_type", ["VerifyEmail", "PasswordlessRegistration"])
@pytest.mark.parity("RND-5")
def test_the_link_is_exactly_the_template_with_its_variables_filled_in(message_type: str) -> None:
    template = "https://my.example/x?userID={{.UserID}}&code={{.Code}}&orgID={{.OrgID}}&id={{.CodeID}}"
    mail = read(mail_request(message_type, template))
    assert mail.page.links == ["https://my.example/x?userID=u%201&code=K7P2QX&orgID=o%261&id=c1"]


# WRK-2 and WRK-3
def test_an_invitation_names_the_application_in_its_subject() -> None:
    assert read(mail_request("InviteUser", ApplicationName="Crème APP")).subject == "Invitation to Crème APP"


def test_a_claimed_domain_is_that_of_the_last_address_when_none_is_given() -> None:
    assert "domain acme.example." in read(mail_request("DomainClaimed")).text
    assert "domain other.example." in read(mail_request("DomainClaimed", Domain="other.example")).text


def test_the_line_for_browsers_is_left_out_when_no_domain_is_known() -> None:
    assert sms("VerifySMSOTP", Origin="https://[").endswith(" Then change your password.")


@pytest.mark.parametrize("channel", ["email", "sms"])
def test_a_missing_code_is_an_error_where_it_is_used(channel: str) -> None:
    request = msgspec.structs.replace(mail_request("PasswordReset", Code=""), channel=channel)
    with pytest.raises(TemplateError, match="needs Code"):
        render(request, ENVELOPE)
    assert read(mail_request("PasswordChange", Code="")).subject == "Your password was changed"


@pytest.mark.parametrize(
    ("message_type", "channel", "url_template", "needed"),
    [
        *((message_type, "email", "", True) for message_type in BY_MAIL),
        *((message_type, "email", "https://x.example/", False) for message_type in BY_MAIL),
        ("VerifyEmail", "email", "{{.Origin}}/x", True),
        ("VerifyEmail", "email", "https://{{.Domain}}/x", True),
        ("VerifyPhone", "sms", "", False),
        ("PasswordReset", "sms", "", False),
        ("VerifySMSOTP", "sms", "", True),
        ("InviteUser", "sms", "", True),
        ("InviteUser", "sms", "https://x.example/", False),
    ],
)
def test_an_origin_is_needed_exactly_when_the_message_shows_it(
    message_type: str, channel: str, url_template: str, *, needed: bool
) -> None:
    assert needs_origin(message_type, channel, url_template) is needed
    request = RenderRequest(
        message_type, channel, {**ARGUMENTS, "Origin": ""}, url_template, recipient="a@b.example"
    )
    if not needed:
        render(request, ENVELOPE)
