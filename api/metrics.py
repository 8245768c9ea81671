"""Numbers for Prometheus: what this process served, and how the whole stands at the moment of asking."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from event_log.errors import EventLogError
from event_log.intake import Appended
from projections import give_ups
from projections.standing import Standing

_logger = logging.getLogger(__name__)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """Of one application; nothing is shared between two in one process."""

    def __init__(self, take_standing: Callable[[], Standing]) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "tidings_http_requests",
            "Requests answered, by route template and status.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "tidings_http_request_seconds",
            "Time to answer, by route template.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._batch_sizes = Histogram(
            "tidings_ingest_batch_events", "Events a request.", buckets=_BATCH_SIZES, registry=self.registry
        )
        self._ingest_seconds = Histogram(
            "tidings_ingest_seconds",
            "From a request's body to the commit of its events.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._events = Counter(
            "tidings_events_appended",
            "Events answered with 2xx; duplicates were there before.",
            ("duplicate",),
            registry=self.registry,
        )
        self.registry.register(_StandingCollector(take_standing))

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        # Whatever a caller makes up as a method must not make a new series.
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_events(self, appended: Sequence[Appended], seconds: float) -> None:
        duplicates = sum(event.duplicate for event in appended)
        self._batch_sizes.observe(len(appended))
        self._ingest_seconds.observe(seconds)
        self._events.labels("false").inc(len(appended) - duplicates)
        self._events.labels("true").inc(duplicates)

    def text(self) -> bytes:
        """Asks the database: to be called in a thread."""
        return generate_latest(self.registry)


class _StandingCollector(Collector):
    def __init__(self, take_standing: Callable[[], Standing]) -> None:
        self._take_standing = take_standing

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering asks nothing of the database."""
        return ()

    def collect(self) -> Iterator[Metric]:
        try:
            standing: Standing | None = self._take_standing()
        except EventLogError as error:
            _logger.warning("metrics without the database: %s", error)
            standing = None
        yield GaugeMetricFamily(
            "tidings_database_up", "Whether the database answers.", int(standing is not None)
        )
        if standing is not None:
            yield from _gauges(standing)


def _gauges(standing: Standing) -> Iterator[Metric]:
    yield GaugeMetricFamily("tidings_log_position", "The log's last position.", standing.head)
    behind = GaugeMetricFamily(
        "tidings_projection_behind",
        "Positions between a projection and the log's end.",
        labels=("projection",),
    )
    for projection, position in standing.positions.items():
        behind.add_metric((projection,), max(standing.head - position, 0))
    yield behind
    yield GaugeMetricFamily(
        "tidings_notifications_open",
        "Notifications neither closed nor forgotten.",
        standing.open_notifications,
    )
    yield GaugeMetricFamily("tidings_notifications_due", "Notifications whose time has come.", standing.due)
    yield GaugeMetricFamily(
        "tidings_notifications_due_oldest_seconds", "Age of the oldest due notification.", standing.oldest_due
    )
    yield GaugeMetricFamily("tidings_events_quarantined", "Events set aside.", standing.quarantined)
    if standing.give_up_hook is not None:
        yield from _hook_gauges(standing.give_up_hook, standing.head)


def _hook_gauges(hook: give_ups.Standing, head: int) -> Iterator[Metric]:
    yield CounterMetricFamily("tidings_give_ups_reported", "Give-ups that the operator took.", hook.reported)
    yield GaugeMetricFamily(
        "tidings_give_up_hook_behind",
        "Positions between the last give-up the operator was told of and the log's end.",
        max(head - hook.position, 0),
    )
    yield GaugeMetricFamily(
        "tidings_give_up_hook_failures", "Calls to the operator that failed in a row.", hook.failures
    )
    yield GaugeMetricFamily(
        "tidings_give_up_hook_failing_seconds", "Time since the first of them.", hook.failing
    )
