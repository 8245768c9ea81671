"""Numbers of one worker process for Prometheus, on a port of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tidings.errors import PortTaken
from workers.stages import Stage
from workers.tally import SECONDS, Spread
from workers.worker import Worker

_KIND = ("channel", "message_type")


class WorkerCollector(Collector):
    """Reads the worker's numbers when it is asked, in whatever thread that is."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        tally = self._worker.tally
        yield _counter(
            "tidings_attempts", "Attempts with a recorded result.", (*_KIND, "outcome"), tally.attempts
        )
        yield _counter("tidings_retries", "Attempts after the first.", _KIND, tally.retries)
        yield _histogram("tidings_queued_seconds", "From due to its attempt.", tally.queued)
        yield _histogram("tidings_send_seconds", "From its turn to the answer.", tally.sending)
        yield CounterMetricFamily("tidings_results_recorded", "Results written.", tally.recorded)
        yield from self._under_way()

    def _under_way(self) -> Iterator[Metric]:
        found = self._worker.under_way()
        family = GaugeMetricFamily("tidings_deliveries_under_way", "Attempts going on.", labels=_KIND)
        for kind, count in Counter(kind for kind, _ in found).items():
            family.add_metric(kind, count)
        yield family
        waiting = sum(stage is Stage.ANSWERED for _, stage in found)
        yield GaugeMetricFamily("tidings_results_waiting", "Results not written yet.", waiting)


@contextmanager
def metrics_served(worker: Worker, host: str, port: int | None) -> Iterator[None]:
    """Nowhere without a port. Raises PortTaken."""
    if port is None:
        yield
        return
    registry = CollectorRegistry()
    registry.register(WorkerCollector(worker))
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise PortTaken(f"port {port} on {host} cannot be had for workers.metrics_port: {error}") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _counter(
    name: str,
    says: str,
    labels: tuple[str, ...],
    counts: Counter[tuple[str, str, str]] | Counter[tuple[str, str]],
) -> Metric:
    family = CounterMetricFamily(name, says, labels=labels)
    for key, count in list(counts.items()):
        family.add_metric(key, count)
    return family


def _histogram(name: str, says: str, spreads: dict[str, Spread]) -> Metric:
    family = HistogramMetricFamily(name, says, labels=("channel",))
    for channel, spread in list(spreads.items()):
        family.add_metric((channel,), buckets=_steps(spread), sum_value=spread.sum)
    return family


def _steps(spread: Spread) -> list[tuple[str, int]]:
    steps: Iterable[str] = (*map(str, SECONDS), "+Inf")
    return list(zip(steps, accumulate(spread.counts), strict=True))
