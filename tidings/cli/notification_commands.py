"""`tidings notifications cancel`, `resend` and `resolve`, over REST.

Exit status: 0 done, 1 refused (the sentence says why), 3 no such notification, 4 nothing answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias
from urllib.parse import quote

import typer

from tidings.cli import output
from tidings.cli.options import JsonOption, KeyOption, ReasonOption, UrlOption, required_key, service_url
from tidings.rest import Service

IdArgument: TypeAlias = Annotated[str, typer.Argument(metavar="ID", help="The notification's id.")]


def add_to(group: typer.Typer) -> None:
    group.command("cancel")(cancel)
    group.command("resend")(resend)
    group.command("resolve")(resolve)


def cancel(
    notification_id: IdArgument,
    reason: ReasonOption,
    url: UrlOption = "",
    key: KeyOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Cancel a notification that has not left yet. Exit status 1: it has; 3: there is none."""
    _tell(_ask(url, key, notification_id, "cancel", {"reason": reason}), as_json=as_json)


def resend(
    notification_id: IdArgument,
    reason: ReasonOption,
    url: UrlOption = "",
    key: KeyOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Send a closed notification again. Exit status 1: it is open, or its code is gone; 3: there is none."""
    _tell(_ask(url, key, notification_id, "resend", {"reason": reason}), as_json=as_json)


def resolve(
    notification_id: IdArgument,
    reason: ReasonOption,
    outcome: Annotated[
        str, typer.Option(metavar="sent|retry|cancelled", help="It was sent, is tried again, or given up.")
    ],
    url: UrlOption = "",
    key: KeyOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """End the doubt about a parked notification. Exit status 1: it is not parked; 3: there is none."""
    body = {"reason": reason, "outcome": outcome}
    _tell(_ask(url, key, notification_id, "resolve", body), as_json=as_json)


def _ask(url: str, key: str, notification_id: str, command: str, body: Mapping[str, Any]) -> dict[str, Any]:
    path = f"/v1/notifications/{quote(notification_id, safe='')}/{command}"
    return asyncio.run(_post(service_url(url), required_key(key), path, body))


async def _post(url: str, key: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    async with Service(url, key) as service:
        return await service.post(path, body)


def _tell(item: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.json_line(item)
        return
    why = f" ({item['reason']})" if item.get("reason") else ""
    output.out().print(
        f"{item['message_type']} by {item['channel']} is {item['state']}{why}", highlight=False
    )
