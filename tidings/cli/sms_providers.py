"""`tidings providers sms`: set up what an instance's text messages leave through, over REST."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias
from urllib.parse import quote

import typer

from tidings.cli import output
from tidings.cli.options import JsonOption, KeyOption, UrlOption, required_key, service_url
from tidings.rest import Service

PATH = "/v1/providers/sms"
IdArgument: TypeAlias = Annotated[str, typer.Argument(metavar="ID", help="The provider's id.")]
NewId: TypeAlias = Annotated[
    str, typer.Option("--id", metavar="ID", help="A name of your own; one is made if not given.")
]
Description: TypeAlias = Annotated[
    str, typer.Option("--description", metavar="TEXT", help="Words for people.")
]
Token: TypeAlias = Annotated[
    str,
    typer.Option("--token", envvar="TWILIO_AUTH_TOKEN", metavar="TOKEN", help="The account's auth token."),
]


def add_to(group: typer.Typer) -> None:
    sms = typer.Typer(no_args_is_help=True, help="Set up the SMS providers of the key's instance.")
    sms.command("list")(list_providers)
    sms.command("add-twilio")(add_twilio)
    sms.command("add-http")(add_http)
    sms.command("activate")(activate)
    sms.command("deactivate")(deactivate)
    sms.command("token")(token)
    sms.command("remove")(remove)
    group.add_typer(sms, name="sms")


def list_providers(url: UrlOption = "", key: KeyOption = "", *, as_json: JsonOption = False) -> None:
    """Show what is stored, which one is active, what is missing and what is paused."""
    _tell_all(_ask(url, key, "GET", PATH), as_json=as_json)


def add_twilio(  # noqa: PLR0913, PLR0917 - an account has so many parts
    sid: Annotated[str, typer.Option(metavar="SID", help="Account SID, AC….")] = "",
    token: Token = "",
    sender_number: Annotated[
        str, typer.Option("--from", metavar="NUMBER", help="Number texts come from.")
    ] = "",
    verify_service: Annotated[
        str, typer.Option(metavar="SID", help="Verify service that makes codes itself, VA….")
    ] = "",
    provider_id: NewId = "",
    description: Description = "",
    url: UrlOption = "",
    key: KeyOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Store a Twilio account, not yet active. Exit status 1: something is missing, or the id is taken."""
    given = {
        "id": provider_id,
        "description": description,
        "sid": sid,
        "token": token,
        "sender_number": sender_number,
        "verify_service_sid": verify_service,
    }
    body = {"kind": "twilio"} | {name: value for name, value in given.items() if value}
    _tell(_ask(url, key, "POST", PATH, body), as_json=as_json)


def add_http(
    endpoint: Annotated[str, typer.Option(metavar="URL", help="Where each message is posted to.")],
    provider_id: NewId = "",
    description: Description = "",
    url: UrlOption = "",
    key: KeyOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Store an HTTP endpoint, not yet active, and show its signing key this once."""
    given = {"id": provider_id, "description": description, "endpoint": endpoint}
    body = {"kind": "http"} | {name: value for name, value in given.items() if value}
    _tell(_ask(url, key, "POST", PATH, body), as_json=as_json)


def activate(
    provider_id: IdArgument, url: UrlOption = "", key: KeyOption = "", *, as_json: JsonOption = False
) -> None:
    """Let text messages leave through this one alone. Exit status 1: a part is missing; 3: there is none."""
    _tell(_ask(url, key, "POST", _path(provider_id, "/activate")), as_json=as_json)


def deactivate(
    provider_id: IdArgument, url: UrlOption = "", key: KeyOption = "", *, as_json: JsonOption = False
) -> None:
    """Use the deployment's own account again. Exit status 3: there is none."""
    _tell(_ask(url, key, "POST", _path(provider_id, "/deactivate")), as_json=as_json)


def token(
    provider_id: IdArgument,
    token: Token = "",
    url: UrlOption = "",
    key: KeyOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Set a Twilio account's token; without one, have an HTTP endpoint's signing key made anew."""
    body = {"token": token} if token else {}
    _tell(_ask(url, key, "POST", _path(provider_id, "/token"), body), as_json=as_json)


def remove(
    provider_id: IdArgument, url: UrlOption = "", key: KeyOption = "", *, as_json: JsonOption = False
) -> None:
    """Forget a provider. Exit status 3: there is none."""
    _tell_all(_ask(url, key, "DELETE", _path(provider_id)), as_json=as_json)


def _path(provider_id: str, command: str = "") -> str:
    return f"{PATH}/{quote(provider_id, safe='')}{command}"


def _ask(url: str, key: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return asyncio.run(_change(service_url(url), required_key(key), method, path, body))


async def _change(
    url: str, key: str, method: str, path: str, body: Mapping[str, Any] | None
) -> dict[str, Any]:
    async with Service(url, key) as service:
        return await service.change(method, path, body)


def _tell(answer: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.json_line(answer)
        return
    _print([answer["provider"]])
    if answer["signing_key"]:
        output.out().print(f"signing key, shown only now: {answer['signing_key']}", highlight=False)


def _tell_all(answer: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.json_line(answer)
        return
    if answer["unreadable"]:
        output.warning(f"the list may not be whole: {answer['unreadable']}")
    if answer["items"]:
        _print(answer["items"])
    else:
        output.out().print("no provider is stored; the deployment's own account is used")


def _print(items: list[Mapping[str, Any]]) -> None:
    output.table(("id", "kind", "state", "settings", "description"), [_row(item) for item in items])


def _row(item: Mapping[str, Any]) -> tuple[str, ...]:
    settings = " ".join(value for value in item["settings"].values() if value)
    return (item["id"], item["kind"], _state(item), settings, item["description"])


def _state(item: Mapping[str, Any]) -> str:
    if item["missing"]:
        return f"no {' and no '.join(item['missing'])}"
    state = "active" if item["active"] else "stored"
    if item["paused"]:
        until = str(item["paused"]["until"])[11:19]
        return f"{state}, paused until {until}: {item['paused']['error']}"
    return state
