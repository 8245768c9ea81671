"""What each benchmark has to show, by the names in its last line."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import msgspec

Told = Mapping[str, Any]
"""A benchmark's last line."""


class Measure(msgspec.Struct, frozen=True):
    """One row: a figure, and the bar it is held to where there is one."""

    what: str
    key: str
    """Dots lead into objects."""
    unit: str = ""
    digits: int = 0
    at_least: float | None = None
    at_most: float | None = None

    def value(self, told: Told) -> float | None:
        found: Any = told
        for step in self.key.split("."):
            found = found.get(step) if isinstance(found, Mapping) else None
        return float(found) if isinstance(found, int | float) else None

    def shown(self, value: float) -> str:
        return f"{value:,.{self.digits}f}{self.unit}"

    @property
    def bar(self) -> str:
        if self.at_least is not None:
            return f"at least {self.shown(self.at_least)}"
        return "" if self.at_most is None else f"at most {self.shown(self.at_most)}"

    def verdict(self, value: float) -> str:
        held = [
            holds(value, bar)
            for holds, bar in ((operator.ge, self.at_least), (operator.le, self.at_most))
            if bar is not None
        ]
        return "" if not held else "held" if all(held) else "**missed**"


MEASURES: dict[str, tuple[Measure, ...]] = {
    "throughput": (
        Measure("notifications a second, whole chain", "notifications_per_s", at_least=2000),
        Measure("the same with one worker", "by_workers.1"),
        Measure("the same with two workers", "by_workers.2"),
        Measure("one more run of 100,000", "large_per_s"),
        Measure("the naive build", "naive_per_s"),
        Measure("times the naive build", "ratio_naive", digits=1, at_least=5),
        Measure("from a backlog, front at rest, one worker", "backlog_per_s.1"),
        Measure("from a backlog, front at rest, two workers", "backlog_per_s.2"),
        Measure("the second worker gives", "second_worker_ratio", " times", 2, at_least=1.5),
        Measure("told twice", "twice", at_most=0),
        Measure("lost", "lost", at_most=0),
        Measure("a worker's memory", "worker_mib", " MiB", at_most=200),
        Measure("a worker's memory, a million due", "worker_mib_before_a_million", " MiB", at_most=200),
    ),
    "latency": (
        Measure("idle, median", "idle_p50_ms", " ms", 1, at_most=12),
        Measure("idle, p99", "idle_p99_ms", " ms", 1, at_most=40),
        Measure("50 % of the peak, median", "p50_ms_at_50", " ms", 1),
        Measure("50 % of the peak, p99", "p99_ms_at_50", " ms", 1),
        Measure("80 % of the peak, median", "p50_ms_at_80", " ms", 1),
        Measure("80 % of the peak, p95", "p95_ms_at_80", " ms", 1),
        Measure("80 % of the peak, p99", "p99_ms_at_80", " ms", 1, at_most=1000),
        Measure("80 % of the peak, p99 from the planned arrival", "p99_from_arrival_ms_at_80", " ms", 1),
        Measure("the peak, notifications a second", "peak_per_s"),
    ),
    "ingest": (
        Measure("single events a second", "single_per_s"),
        Measure("of the same without a database", "single_ratio", digits=2, at_least=0.5),
        Measure("events a second in batches of 100", "batch_events_per_s"),
        Measure("of append at 100", "batch_ratio", digits=2, at_least=0.4),
        Measure("the api's memory", "api_mib", " MiB", at_most=200),
    ),
    "append": tuple(
        Measure(f"events a second, batches of {batch}, {producers} producers", f"{cell}.events_per_s")
        for batch in (1, 10, 100, 1000)
        for producers in (1, 64)
        for cell in (f"batch_{batch}_producers_{producers}",)
    )
    + tuple(
        Measure(
            f"of bare SQL, batches of {batch}, 64 producers", f"batch_{batch}_producers_64.ratio", digits=2
        )
        for batch in (1, 10, 100, 1000)
    ),
    "queue": (
        Measure("jobs a second, nothing to render", "tidings_per_s"),
        Measure("jobs a second, a mail rendered", "tidings_mail_per_s"),
        Measure("times procrastinate", "ratio_procrastinate", digits=1, at_least=5),
        Measure("times pgqueuer on psycopg", "ratio_pgqueuer", digits=2, at_least=1),
        Measure("times pgqueuer on asyncpg", "ratio_pgqueuer_asyncpg", digits=2),
        Measure("times graphile-worker", "ratio_graphile_worker", digits=2),
        Measure("times pg-boss", "ratio_pg_boss", digits=2),
        Measure("idle, median", "tidings_idle_p50_ms", " ms", 1),
        Measure("idle, p99", "tidings_idle_p99_ms", " ms", 1),
    ),
    "smtp": (
        Measure("mails a second", "messages_per_s"),
        Measure("times aiosmtplib with a pool", "ratio_aiosmtplib", digits=1, at_least=5),
        Measure("times the same on uvloop", "ratio_aiosmtplib_uvloop", digits=1),
        Measure("times aiosmtplib.send", "ratio_aiosmtplib_send", digits=1),
        Measure("of the C client", "ratio_c", digits=2, at_least=0.8),
    ),
    "rebuild": (
        Measure("events a second, the slowest projection", "events_per_s"),
        Measure("of read + decode + COPY", "ratio", digits=2, at_least=0.5),
    ),
    "history": (
        Measure("worst filter's p99, 100 thousand rows", "100000.worst_p99_ms", " ms", 1),
        Measure("worst filter's p99, 1 million rows", "1000000.worst_p99_ms", " ms", 1),
        Measure("worst filter's p99, 5 million rows", "5000000.worst_p99_ms", " ms", 1),
    ),
    "scale": (
        Measure("the worst of small over big", "worst_ratio", digits=2, at_most=1.1),
        Measure("claim rate kept under a held snapshot", "snapshot_rate_kept", digits=2, at_least=0.8),
        Measure("two workers over one", "two_workers_speedup", digits=2),
    ),
}
