"""`tidings notifications`: the history, over REST."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.text import Text

from tidings.cli import notification_commands, output
from tidings.cli.options import JsonOption, KeyOption, UrlOption, required_key, service_url
from tidings.rest import Service

STYLES = {
    "sent": "green",
    "cancelled": "red",
    "declined": "yellow",
    "parked": "bold magenta",
    "waiting": "cyan",
    "attempting": "cyan",
    "transmitting": "cyan",
}
_PATH = "/v1/notifications"


def add_to(app: typer.Typer) -> None:
    group = typer.Typer(
        no_args_is_help=True, help="Look at notifications, and cancel, resend or resolve them."
    )
    group.command("list")(show_list)
    group.command("show")(show_one)
    notification_commands.add_to(group)
    app.add_typer(group, name="notifications")


def show_list(  # noqa: PLR0913 - each filter is an option of its own
    *,
    user_id: Annotated[str, typer.Option(help="Only this person's.")] = "",
    state: Annotated[str, typer.Option(help=f"Only those that are {', '.join(STYLES)}.")] = "",
    reason: Annotated[str, typer.Option(help="Only those closed for this reason.")] = "",
    message_type: Annotated[str, typer.Option(help="Only this message, such as VerifyEmail.")] = "",
    channel: Annotated[str, typer.Option(help="Only email or sms.")] = "",
    organisation_id: Annotated[str, typer.Option(help="Only this organisation's.")] = "",
    event_id: Annotated[str, typer.Option(help="Only what followed from the event with this id.")] = "",
    since: Annotated[str, typer.Option(help="Not before this time (RFC 3339).")] = "",
    until: Annotated[str, typer.Option(help="Before this time (RFC 3339).")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    cursor: Annotated[str, typer.Option(help="Go on where another list ended.")] = "",
    url: UrlOption = "",
    key: KeyOption = "",
    as_json: JsonOption = False,
) -> None:
    """List notifications, newest first."""
    filters = {
        "user_id": user_id,
        "state": state,
        "reason": reason,
        "message_type": message_type,
        "channel": channel,
        "organisation_id": organisation_id,
        "event_id": event_id,
        "since": since,
        "until": until,
        "limit": str(limit),
        "cursor": cursor,
    }
    given = {name: value for name, value in filters.items() if value}
    page = asyncio.run(_get(service_url(url), required_key(key), _PATH, given))
    output.json_line(page) if as_json else _print_page(page)


def show_one(
    notification_id: Annotated[str, typer.Argument(metavar="ID", help="The notification's id.")],
    url: UrlOption = "",
    key: KeyOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Show one notification and everything that happened to it."""
    path = f"{_PATH}/{quote(notification_id, safe='')}"
    item = asyncio.run(_get(service_url(url), required_key(key), path, {}))
    output.json_line(item) if as_json else _print_item(item)


async def _get(url: str, key: str, path: str, query: Mapping[str, str]) -> dict[str, Any]:
    async with Service(url, key) as service:
        return await service.get(path, query)


def _print_page(page: Mapping[str, Any]) -> None:
    columns = ("requested", "state", "message", "channel", "person", "attempts", "id")
    output.table(columns, [_row(item) for item in page["items"]])
    if page.get("next"):
        output.say(f"there is more: --cursor {page['next']}")


def _row(item: Mapping[str, Any]) -> tuple[str | Text, ...]:
    return (
        moment(item.get("requested_at")),
        state_text(item),
        str(item.get("message_type") or ""),
        str(item.get("channel") or ""),
        str(item.get("user_id") or ""),
        str(item.get("attempts", "")),
        str(item["id"]),
    )


def state_text(item: Mapping[str, Any]) -> Text:
    state = str(item["state"])
    reason = f" ({item['reason']})" if item.get("reason") else ""
    return Text(state + reason, STYLES.get(state, ""))


def moment(text: object) -> str:
    """To the second; as given when it is no time."""
    return str(text or "")[:19].replace("T", " ")


def _print_item(item: Mapping[str, Any]) -> None:
    for name, value in item.items():
        if name not in {"timeline", "state", "reason"} and value is not None:
            output.out().print(Text.assemble((f"{name:16} ", "dim"), _plain(value)))
    output.out().print(Text.assemble((f"{'state':16} ", "dim"), state_text(item)))
    rows = [(str(step["at"]), str(step["type"]), _rest(step)) for step in item.get("timeline", ())]
    output.table(("at", "what happened", "more"), rows)


def _rest(step: Mapping[str, Any]) -> str:
    known = {"at", "type", "position"}
    return ", ".join(f"{name} {_plain(value)}" for name, value in step.items() if name not in known and value)


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return " ".join(str(part) for part in value.values() if part)
    return str(value)
