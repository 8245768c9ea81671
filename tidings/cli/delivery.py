"""`tidings delivery`: stop and start the sending, and show what is stopped, over REST."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import typer

from tidings.cli import output
from tidings.cli.options import JsonOption, KeyOption, ReasonOption, UrlOption, required_key, service_url
from tidings.rest import Service

ChannelOption: TypeAlias = Annotated[
    str, typer.Option("--channel", metavar="CHANNEL", help="Only email, sms or webhook; all if not given.")
]
EverywhereOption: TypeAlias = Annotated[
    bool, typer.Option("--everywhere", help="The whole deployment, not only the key's instance.")
]


def add_to(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Pause and resume the sending; expiry runs on.")
    group.command("pause")(pause)
    group.command("resume")(resume)
    group.command("status")(status)
    app.add_typer(group, name="delivery")


def pause(
    reason: ReasonOption,
    channel: ChannelOption = "",
    *,
    everywhere: EverywhereOption = False,
    url: UrlOption = "",
    key: KeyOption = "",
    as_json: JsonOption = False,
) -> None:
    """Send nothing of a channel or of all, until it is resumed. What is under way goes out."""
    changed = _change("pause", _body(reason, channel, everywhere=everywhere), url, key)
    _tell(changed, "it was paused already", as_json=as_json)


def resume(
    reason: ReasonOption,
    channel: ChannelOption = "",
    *,
    everywhere: EverywhereOption = False,
    url: UrlOption = "",
    key: KeyOption = "",
    as_json: JsonOption = False,
) -> None:
    """End the pause of just what is named."""
    changed = _change("resume", _body(reason, channel, everywhere=everywhere), url, key)
    _tell(changed, "there was no such pause", as_json=as_json)


def status(url: UrlOption = "", key: KeyOption = "", *, as_json: JsonOption = False) -> None:
    """Show what is paused for the key's instance."""
    found = asyncio.run(_get(service_url(url), required_key(key)))
    output.json_line(found) if as_json else _print(found)


def _body(reason: str, channel: str, *, everywhere: bool) -> dict[str, Any]:
    named = {"channel": channel} if channel else {}
    return {"reason": reason, **named} | ({"everywhere": True} if everywhere else {})


def _change(what: str, body: Mapping[str, Any], url: str, key: str) -> dict[str, Any]:
    return asyncio.run(_post(service_url(url), required_key(key), f"/v1/delivery/{what}", body))


async def _post(url: str, key: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    async with Service(url, key) as service:
        return await service.post(path, body)


async def _get(url: str, key: str) -> dict[str, Any]:
    async with Service(url, key) as service:
        return await service.get("/v1/delivery/pause")


def _tell(answer: Mapping[str, Any], unchanged: str, *, as_json: bool) -> None:
    if as_json:
        output.json_line(answer)
        return
    if not answer["changed"]:
        output.say(f"nothing changed: {unchanged}")
    _print(answer)


def _print(answer: Mapping[str, Any]) -> None:
    if not answer["items"]:
        output.out().print("nothing is paused")
        return
    output.table(("paused", "of", "since", "by", "reason"), [_row(item) for item in answer["items"]])


def _row(item: Mapping[str, Any]) -> tuple[str, ...]:
    whose = item["instance"] or "the whole deployment"
    since = str(item["since"])[:19].replace("T", " ")
    return (item["channel"] or "every channel", whose, since, item["by"], item["reason"])
