"""Writes the tables of docs/performance.md and the charts beside it from docs/performance/NAME.json."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.report.bars import MEASURES, Told
from benchmarks.report.charts import Bar, chart

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "performance.md"
FIGURES = ROOT / "docs" / "performance"
NOT_YET = "The full run has not been made yet.\n"
MACHINE = "machine"
_PLACE = re.compile(r"(<!-- (\w+): written by scripts/performance -->\n).*?(<!-- end of \2 -->\n)", re.DOTALL)
_PEERS = {
    "tidings": "Tidings",
    "tidings_mail": "Tidings, a mail rendered",
    "procrastinate": "procrastinate",
    "pgqueuer": "pgqueuer on psycopg",
    "pgqueuer_asyncpg": "pgqueuer on asyncpg",
    "graphile_worker": "graphile-worker",
    "pg_boss": "pg-boss",
}


def files() -> dict[Path, str]:
    """All that is written, by its place."""
    told = {file.stem: json.loads(file.read_text()) for file in sorted(FIGURES.glob("*.json"))}
    charts = {
        name: {title: text for title, draw in _CHARTS.get(name, {}).items() if (text := draw(one))}
        for name, one in told.items()
    }
    page = _PLACE.sub(lambda place: _filled(place, told, charts), PAGE.read_text())
    drawn = {FIGURES / f"{title}.svg": text for one in charts.values() for title, text in one.items()}
    return {PAGE: page} | drawn


def _filled(place: re.Match[str], told: dict[str, Told], charts: dict[str, dict[str, str]]) -> str:
    name = place[2]
    write = _machine if name == MACHINE else partial(table, name)
    body = write(told[name]) if name in told else NOT_YET
    pictures = "".join(f"\n![{title}](performance/{title}.svg)\n" for title in charts.get(name, ()))
    return f"{place[1]}\n{body}{pictures}\n{place[3]}"


def _machine(told: Told) -> str:
    return " · ".join(f"{name}: {value}" for name, value in told.items()) + "\n"


def table(name: str, told: Told) -> str:
    lines = ["| what | measured | bar | |", "|---|---|---|---|"]
    for measure in MEASURES[name]:
        value = measure.value(told)
        if value is not None:
            lines.append(
                f"| {measure.what} | {measure.shown(value)} | {measure.bar} | {measure.verdict(value)} |"
            )
    return "\n".join(lines) + "\n"


def _bar(name: str, value: float, unit: str = "", *, ours: bool = True) -> Bar:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return Bar(name, value, f"{value:,.{digits}f}{unit}", ours)


def _throughput(told: Told) -> str:
    bars = [
        _bar(f"whole chain, {count} worker{'s' * (count > '1')}", told["by_workers"][count]) for count in "12"
    ]
    bars += [
        _bar(f"from a backlog, {count} worker{'s' * (count > '1')}", told["backlog_per_s"][count])
        for count in "12"
    ]
    bars.append(_bar("naive build", told["naive_per_s"], ours=False))
    return chart("Notifications a second", bars, mark=2000.0, marked="goal: 2,000")


def _time(told: Told) -> str:
    """By process; inside the worker by step."""
    spent, steps = told.get("ms_of_processor", {}), told.get("steps_ms", {})
    bars = []
    for name in sorted(spent, key=lambda name: -spent[name]):
        bars.append(_bar(name, spent[name], " ms"))
        inside = sorted(steps, key=lambda step: -steps[step]) if name == "worker" else ()
        bars += [_bar(step, steps[step], " ms", ours=False) for step in inside]
    return chart("Processor time a notification; below the worker its steps", bars)


def _latency(told: Told) -> str:
    names = {"idle": "idle_{}_ms", "50 % of the peak": "{}_ms_at_50", "80 % of the peak": "{}_ms_at_80"}
    bars = [
        _bar(f"{load}, {measure}", told[key.format(measure)], " ms")
        for load, key in names.items()
        for measure in ("p50", "p95", "p99")
    ]
    return chart("Accepted event to accepted mail", bars)


def _ingest(told: Told) -> str:
    bars = [
        _bar("single events", told["single_per_s"], " events/s"),
        _bar("without a database", told["single_per_s"] / told["single_ratio"], " events/s", ours=False),
        _bar("batches of 100", told["batch_events_per_s"], " events/s"),
        _bar("append, no HTTP", told["batch_events_per_s"] / told["batch_ratio"], " events/s", ours=False),
    ]
    return chart("Events over REST from 64 clients", bars)


def _append(told: Told) -> str:
    bars = []
    for batch in (1, 10, 100, 1000):
        cell = told[f"batch_{batch}_producers_64"]
        bars.append(_bar(f"batches of {batch:,}", cell["events_per_s"], " events/s"))
        bars.append(
            _bar("bare SQL, same commits", cell["events_per_s"] / cell["ratio"], " events/s", ours=False)
        )
    return chart("Events a second by 64 producers", bars)


def _queue(told: Told) -> str:
    bars = [
        _bar(title, told[f"{peer}_per_s"], " jobs/s", ours=peer.startswith("tidings"))
        for peer, title in _PEERS.items()
        if f"{peer}_per_s" in told
    ]
    return chart("A job that does nothing", bars)


def _smtp(told: Told) -> str:
    titles = {
        "aiosmtplib_per_s": "aiosmtplib, kept connections",
        "aiosmtplib_send_per_s": "aiosmtplib.send",
        "c_per_s": "smtp-source (C)",
    }
    bars = [_bar("Tidings' channel", told["messages_per_s"], " mails/s")]
    bars += [_bar(title, told[key], " mails/s", ours=False) for key, title in titles.items() if key in told]
    return chart("Mails of 8 KiB over ten connections", bars)


def _scale(told: Told) -> str:
    pairs = [name for name in told.get("spreads", {}) if name in told]
    bars = [_bar(name.replace("_", ", "), told[name]) for name in pairs]
    return chart("Small over big (1 is no slowdown)", bars, mark=1.1, marked="bar: 1.1") if bars else ""


_CHARTS: dict[str, dict[str, Callable[[Told], str]]] = {
    "throughput": {"throughput": _throughput, "time": _time},
    "latency": {"latency": _latency},
    "ingest": {"ingest": _ingest},
    "append": {"append": _append},
    "queue": {"queue": _queue},
    "smtp": {"smtp": _smtp},
    "scale": {"scale": _scale},
}
"""By benchmark, each under its name."""


def main() -> int:
    stale = {file: text for file, text in files().items() if not file.exists() or file.read_text() != text}
    if "--check" in sys.argv[1:]:
        return int(bool(stale))
    for file, text in stale.items():
        file.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
