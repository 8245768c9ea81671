"""Events of the log a second through the rebuild of each projection: due, recipients, history.

Against read + decode + COPY of the same events: pages read and decoded as the rebuild reads them, and a row
for each event that concerns the projection copied into a plain table without any index. A rebuild also folds,
writes tables with indexes, hashes both versions and swaps them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, figure, ratios
from benchmarks.own_log import OwnLog, own_log
from benchmarks.past import make_past
from event_log.envelope import RecordedEvent
from event_log.log import read_after
from projections.rebuild import BATCH, rebuild

PROJECTIONS = {"due": True, "recipients": False, "history": True}
"""And whether they read our own events, not those of callers."""

_TABLE = """
CREATE TABLE IF NOT EXISTS copied (
    position bigint, instance_id text, stream_id uuid, version bigint, topic text, recorded_at timestamptz
)
"""
_COPY = "COPY copied FROM STDIN (FORMAT binary)"
_TYPES = ("int8", "text", "uuid", "int8", "text", "timestamptz")


def rebuilt(place: OwnLog, name: str) -> float:
    """Events a second; raises when the new version is not the same as the one it replaced."""
    began = time.perf_counter()
    done = rebuild(place.log, name)
    took = time.perf_counter() - began
    if not done.equal:
        raise RuntimeError(f"{name} was rebuilt to something else than it was")
    return done.events / took


def copied(place: OwnLog, *, ours: bool) -> float:
    """Events a second read, decoded and, where they are of that kind, copied."""
    place.owner.execute(_TABLE)
    place.owner.execute("TRUNCATE copied")
    began, position, count = time.perf_counter(), 0, 0
    with place.log.database.connection() as connection, place.owner.transaction():
        cursor = connection.cursor(binary=True)
        kind = {"ours": ours, "callers": not ours}
        while (page := read_after(place.log, cursor, position, BATCH, **kind)).passed:
            _copy(place, page.events)
            position, count = page.reached, count + page.passed
    return count / (time.perf_counter() - began)


def _copy(place: OwnLog, events: Sequence[RecordedEvent]) -> None:
    with place.owner.cursor().copy(_COPY) as copy:
        copy.set_types(_TYPES)
        for event in events:
            copy.write_row(
                (
                    event.position,
                    event.instance,
                    event.stream,
                    event.version,
                    event.topic,
                    event.recorded_at,
                )
            )


def measure(notifications: int, runs: int) -> tuple[int, dict[str, tuple[Figure, Figure]]]:
    """How many events there were, and of each projection the events a second and the ratio."""
    ours, theirs = defaultdict(list), defaultdict(list)
    with own_log(as_owner=True) as place:
        make_past(place.log, notifications)
        place.owner.execute("VACUUM (ANALYZE)")
        for run in range(-1, runs):
            for name, kind in PROJECTIONS.items():
                rates = copied(place, ours=kind), rebuilt(place, name)
                if run >= 0:  # the first run only warms up
                    theirs[name].append(rates[0])
                    ours[name].append(rates[1])
        events = place.count("SELECT count(*) FROM events")
    return events, {name: (figure(ours[name]), ratios(ours[name], theirs[name])) for name in PROJECTIONS}


def main(notifications: int, runs: int) -> None:
    events, measured = measure(notifications, runs)
    table = Table(
        "projection", "events/s", "of read + decode + COPY", title=f"rebuild, a log of {events:,} events"
    )
    for name, (per_s, ratio) in measured.items():
        table.add_row(name, per_s.shown(), ratio.shown(2))
    Console().print(table)
    slowest = min(measured, key=lambda name: measured[name][1].median)
    result: dict[str, object] = {
        "events_per_s": round(measured[slowest][0].median),
        "ratio": round(measured[slowest][1].median, 3),
        "slowest": slowest,
        "events": events,
    }
    for name, (per_s, ratio) in measured.items():
        result[name] = {
            "events_per_s": round(per_s.median),
            "ratio": round(ratio.median, 3),
            "spread": round(ratio.spread, 3),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--notifications", type=int, default=40_000, help="about seven events each")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="3,000 notifications, 3 runs")
    options = parser.parse_args()
    main(*((3000, 3) if options.quick else (options.notifications, options.runs)))
