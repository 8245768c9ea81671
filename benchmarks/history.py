"""How long GET /v1/notifications takes for each filter, by how many notifications there are.

The newest page and one from the middle of the history, 50 rows a page, over HTTP on one kept connection. The
rows are written straight into the read model with SQL, with the indexes and about the values of real ones.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections.abc import Sequence

import aiohttp
import msgspec
from rich.console import Console
from rich.table import Table
from starlette.datastructures import QueryParams

from api.history_parameters import read_list_request
from api.page_cursor import CursorSigner
from benchmarks.big_tables import write_notifications
from benchmarks.feeding import session
from benchmarks.figures import figure, percentile
from benchmarks.own_log import OwnLog, own_log
from benchmarks.served import REAL, served
from event_log.api_keys import SCOPES, create_key
from tidings.composition import clock, deployment_key
from tidings.settings import Settings

INSTANCE = "bench"
SIZES = (100_000, 1_000_000, 5_000_000)
QUICK_SIZES = (20_000,)
FILTERS = {
    "none": "",
    "user_id": "user_id=user-7",
    "state=sent": "state=sent",
    "state=parked": "state=parked",
    "state, two": "state=parked&state=cancelled",
    "reason": "reason=rejected",
    "message_type": "message_type=PasswordReset",
    "channel=sms": "channel=sms",
    "channel=webhook": "channel=webhook",
    "organisation_id": "organisation_id=organisation-7",
    "event_id": "event_id=event-777",
    "event_id, unknown": "event_id=nobody",
    "since": "since=2026-01-01T12:00:00Z",
    "until": "until=2026-01-01T12:00:00Z",
    "since, until": "since=2026-01-01T12:00:00Z&until=2026-01-01T18:00:00Z",
    "organisation_id, state": "organisation_id=organisation-97&state=declined",
    "channel, nothing there": "channel=webhook&message_type=VerifyEmail",
}
PAGES = ("first", "middle")


class Asked(msgspec.Struct, frozen=True):
    """One filter and page at one size, in several runs."""

    p50_ms: tuple[float, ...]
    p99_ms: tuple[float, ...]


class Reader:
    """Asks for pages; ``cursor_key`` is the deployment's, to begin in the middle without paging there."""

    def __init__(self, url: str, web: aiohttp.ClientSession, cursor_key: bytes) -> None:
        self._url = url
        self._web = web
        self._cursors = CursorSigner(cursor_key)

    async def page(self, query: str, middle: int) -> float:
        """Milliseconds; ``middle`` is the position to go on behind, 0 for the first page."""
        if middle:
            listed = read_list_request(QueryParams(query)).listed(INSTANCE)
            query += f"&cursor={self._cursors.sign(middle, listed)}"
        began = time.perf_counter()
        async with self._web.get(f"{self._url}/v1/notifications?{query}") as answer:
            body = await answer.read()
        took = (time.perf_counter() - began) * 1000
        if answer.status != 200:
            raise RuntimeError(f"{query}: {answer.status}: {body.decode()}")
        return took

    async def pages(self, query: str, middle: int, times: int, seconds: float) -> list[float]:
        """As often as asked for, or as there is time for."""
        until = time.perf_counter() + seconds
        taken = [await self.page(query, middle)]
        while len(taken) < times and time.perf_counter() < until:
            taken.append(await self.page(query, middle))
        return taken


async def ask(place: OwnLog, url: str, key: str, options: argparse.Namespace) -> dict[tuple[str, str], Asked]:
    settings = Settings(data_dir=place.data)
    middle = place.count("SELECT max(position) FROM notifications") // 2
    runs: dict[tuple[str, str], list[list[float]]] = {(name, page): [] for name in FILTERS for page in PAGES}
    async with session(key, patience=60) as web:
        reader = Reader(url, web, deployment_key(settings).derive("page cursors"))
        for run in range(-1, options.runs):
            for (name, page), taken in runs.items():
                place_in_list = middle if page == "middle" else 0
                times = options.requests if run >= 0 else 3  # the first run only warms up
                waited = await reader.pages(FILTERS[name], place_in_list, times, options.seconds)
                if run >= 0:
                    taken.append(waited)
    return {which: _asked(taken) for which, taken in runs.items()}


def _asked(runs: Sequence[Sequence[float]]) -> Asked:
    return Asked(
        p50_ms=tuple(percentile(run, 0.5) for run in runs),
        p99_ms=tuple(percentile(run, 0.99) for run in runs),
    )


def measure(sizes: Sequence[int], options: argparse.Namespace) -> dict[int, dict[tuple[str, str], Asked]]:
    found = {}
    with own_log() as place, served(place, REAL) as door:
        _, key = create_key(place.log.database, INSTANCE, SCOPES, "bench", clock(), os.urandom)
        there = 0
        for size in sizes:
            write_notifications(place.owner, INSTANCE, there + 1, size)
            there = size
            found[size] = asyncio.run(ask(place, door.url, key, options))
    return found


def main(sizes: Sequence[int], options: argparse.Namespace) -> None:
    measured = measure(sizes, options)
    table = Table(
        "filter", "page", *(f"{size:,} rows: p50 / p99 ms" for size in sizes), title="GET /v1/notifications"
    )
    for name in FILTERS:
        for page in PAGES:
            asked = [measured[size][name, page] for size in sizes]
            table.add_row(
                name, page, *(f"{figure(a.p50_ms).median:.2f} / {figure(a.p99_ms).median:.2f}" for a in asked)
            )
    Console().print(table)
    print(json.dumps({str(size): _result(measured[size]) for size in sizes}))


def _result(asked: dict[tuple[str, str], Asked]) -> dict[str, object]:
    worst = max(asked, key=lambda which: figure(asked[which].p99_ms).median)
    each = {
        f"{name}, {page} page": {
            "p50_ms": round(figure(one.p50_ms).median, 2),
            "p99_ms": round(figure(one.p99_ms).median, 2),
            "p99_spread": round(figure(one.p99_ms).spread, 2),
        }
        for (name, page), one in asked.items()
    }
    return {
        "worst": ", ".join(worst),
        "worst_p99_ms": round(figure(asked[worst].p99_ms).median, 2),
        "filters": each,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--requests", type=int, default=200, help="for each filter and page in each run")
    parser.add_argument("--seconds", type=float, default=3.0, help="for these at most")
    parser.add_argument("--quick", action="store_true", help="20,000 rows, 50 requests each")
    given = parser.parse_args()
    if given.quick:
        given.sizes, given.requests = QUICK_SIZES, 50
    main(given.sizes, given)
