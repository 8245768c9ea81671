"""What big costs against small: rates on two databases of one server, alternating, small over big.

A log of 10 million events against 10 thousand (appends, claims, the first page of the history), 1,000
instances against one, a backlog of a million against 10 thousand, two workers against one, and a snapshot
that is held open while claims go on, as a backup does. Big tables are written straight with SQL.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeAlias

import msgspec
import psycopg
from psycopg.conninfo import make_conninfo
from rich.console import Console
from rich.table import Table

from benchmarks import append
from benchmarks.big_tables import EVENTS_A_NOTIFICATION, write_due, write_events, write_notifications
from benchmarks.claim_load import BATCH, Claimed, ClaimLoad, drained
from benchmarks.figures import Figure, figure, ratios
from benchmarks.own_log import OwnLog, log_at, own_server
from event_log.intake import append as append_events
from projections.history import Filters, list_notifications

SMALL_LOG, SMALL_BACKLOG = 10_000, 10_000
PAGE = 51
"""Rows that a page of 50 asks for."""
PACE = 2000
"""Notifications a second while the snapshot is held: the rate we promise."""
SHARE = 0.1
"""Of the time under a snapshot, at its start and its end, in which the rates are taken."""

Rate: TypeAlias = Callable[[float], float]
"""Something a second, measured for some seconds."""


class Sizes(msgspec.Struct, frozen=True):
    log: int = 10_000_000
    instances: int = 1000
    backlog: int = 1_000_000
    snapshot: float = 180.0
    """Seconds."""
    runs: int = 5
    slice: float = 1.0
    """Seconds of a measurement in a run."""


QUICK = Sizes(log=150_000, instances=1000, backlog=50_000, snapshot=8.0, runs=3, slice=0.3)


class Pair(msgspec.Struct, frozen=True):
    small: Figure
    big: Figure
    slowdown: Figure


class Measured(msgspec.Struct, frozen=True):
    pairs: dict[str, Pair]
    two_workers: Pair
    snapshot_rate_kept: float


@contextmanager
def small_and_big() -> Iterator[tuple[OwnLog, OwnLog]]:
    """Two logs on one server, so that they are measured in turns under the same conditions."""
    with own_server() as (data, conninfo), ExitStack() as held:
        with psycopg.connect(conninfo, autocommit=True) as owner:
            for name in ("small", "big"):
                owner.execute(f"CREATE DATABASE {name}".encode())
        places = [
            held.enter_context(log_at(data, make_conninfo(conninfo, dbname=name)))
            for name in ("small", "big")
        ]
        yield places[0], places[1]


def compare(small: Rate, big: Rate, sizes: Sizes) -> Pair:
    """In turns, after a turn that does not count."""
    for rate in (small, big):
        rate(sizes.slice / 2)
    taken = [(small(sizes.slice), big(sizes.slice)) for _ in range(sizes.runs)]
    smalls, bigs = [one for one, _ in taken], [other for _, other in taken]
    return Pair(figure(smalls), figure(bigs), ratios(smalls, bigs))


# --- rates ----------------------------------------------------------------------------------------


def appends(place: OwnLog, name: str) -> Rate:
    source = append.events(name)

    def rate(seconds: float) -> float:
        began, count = time.perf_counter(), 0
        while time.perf_counter() < began + seconds:
            append_events(place.log, append.INSTANCE, list(itertools.islice(source, BATCH)))
            count += BATCH
        return count / (time.perf_counter() - began)

    return rate


def claims(place: OwnLog) -> Rate:
    load = ClaimLoad(place)
    return lambda seconds: load.measure(seconds).per_s


def pages(place: OwnLog) -> Rate:
    def rate(seconds: float) -> float:
        began, count = time.perf_counter(), 0
        with place.log.database.connection() as connection:
            while time.perf_counter() < began + seconds:
                list_notifications(connection, append.INSTANCE, Filters(), None, PAGE)
                count += 1
        return count / (time.perf_counter() - began)

    return rate


# --- what is compared -----------------------------------------------------------------------------


def logs(small: OwnLog, big: OwnLog, sizes: Sizes) -> dict[str, Pair]:
    for place, events in ((small, SMALL_LOG), (big, sizes.log)):
        write_events(place.owner, EVENTS_A_NOTIFICATION, events + EVENTS_A_NOTIFICATION - 1)
        write_notifications(place.owner, append.INSTANCE, 1, events // EVENTS_A_NOTIFICATION)
        write_due(place.owner, SMALL_BACKLOG, 1)
    return {
        "log_append": compare(appends(small, "small"), appends(big, "big"), sizes),
        "log_claim": compare(claims(small), claims(big), sizes),
        "log_history_page": compare(pages(small), pages(big), sizes),
    }


def instances(small: OwnLog, big: OwnLog, sizes: Sizes) -> Pair:
    write_due(small.owner, SMALL_BACKLOG, 1)
    write_due(big.owner, SMALL_BACKLOG, sizes.instances)
    return compare(claims(small), claims(big), sizes)


def backlog(small: OwnLog, big: OwnLog, sizes: Sizes) -> Pair:
    write_due(small.owner, SMALL_BACKLOG, 1)
    write_due(big.owner, sizes.backlog, 1)
    return compare(claims(small), claims(big), sizes)


def two_workers(place: OwnLog, sizes: Sizes) -> Pair:
    """From one queue without a refill; the slowdown of two is below 1 where they are faster."""
    write_due(place.owner, sizes.backlog, 1)
    return compare(
        lambda seconds: drained([place], seconds), lambda seconds: drained([place, place], seconds), sizes
    )


def under_a_snapshot(place: OwnLog, sizes: Sizes) -> float:
    """The claim rate at the end of that time over the rate at its start."""
    write_due(place.owner, SMALL_BACKLOG, 1)
    load = ClaimLoad(place)
    load.measure(sizes.slice)
    with psycopg.connect(place.conninfo) as backup:
        backup.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        backup.execute("SELECT count(*) FROM due_notifications")
        return _rate_kept(load, sizes.snapshot)


def _rate_kept(load: ClaimLoad, seconds: float) -> float:
    first, last, between = Claimed(), Claimed(), Claimed()
    began = time.perf_counter()
    for due in itertools.count(began, BATCH / PACE):
        elapsed = time.perf_counter() - began
        if elapsed >= seconds:
            break
        share = elapsed / seconds
        load.once(first if share < SHARE else last if share > 1 - SHARE else between)
        time.sleep(max(due - time.perf_counter(), 0))
    return last.per_s / first.per_s


# --- the whole ------------------------------------------------------------------------------------


def measure(sizes: Sizes) -> Measured:
    with small_and_big() as (small, big):
        pairs = {"instances_claim": instances(small, big, sizes), "backlog_claim": backlog(small, big, sizes)}
        two = two_workers(big, sizes)
        kept = under_a_snapshot(small, sizes)
        return Measured(logs(small, big, sizes) | pairs, two, kept)


def main(sizes: Sizes) -> None:
    measured = measure(sizes)
    table = Table("what", "small /s", "big /s", "small over big", title="scale")
    pairs = measured.pairs | {"two_workers": measured.two_workers}
    for name, pair in pairs.items():
        table.add_row(name, pair.small.shown(), pair.big.shown(), pair.slowdown.shown(2))
    table.add_row("snapshot", "", "", f"{measured.snapshot_rate_kept:.2f} of its start kept")
    Console().print(table)
    slowdowns = {name: round(pair.slowdown.median, 3) for name, pair in measured.pairs.items()}
    result = {
        "worst_ratio": max(slowdowns.values()),
        "snapshot_rate_kept": round(measured.snapshot_rate_kept, 3),
        **slowdowns,
        "two_workers_speedup": round(1 / measured.two_workers.slowdown.median, 3),
        "spreads": {name: round(pair.slowdown.spread, 3) for name, pair in pairs.items()},
        "sizes": msgspec.to_builtins(sizes),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="150,000 events, a backlog of 50,000, 8 s")
    for name, kind in (("log", int), ("backlog", int), ("snapshot", float), ("runs", int), ("slice", float)):
        parser.add_argument(f"--{name}", type=kind)
    options = parser.parse_args()
    given = {name: value for name in Sizes.__struct_fields__ if (value := getattr(options, name, None))}
    main(msgspec.structs.replace(QUICK if options.quick else Sizes(), **given))
