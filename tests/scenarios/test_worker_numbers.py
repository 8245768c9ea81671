"""What a worker process tells Prometheus about itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.request import urlopen

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from event_log.recorder import APPEND_LOCK
from tests.workers.conftest import Office, until
from tests.workers.gates import Gate
from tidings.errors import PortTaken
from tidings.listening import bound_socket, free_port
from tidings.worker_metrics import metrics_served
from workers.worker import Worker

HOST = "127.0.0.1"
CODE = {"channel": "email", "message_type": "VerifyEmail"}
LONG = timedelta(minutes=10)


class Gauges:
    def __init__(self, port: int) -> None:
        self._url = f"http://{HOST}:{port}/metrics"

    async def read(self, name: str, **labels: str) -> float:
        """The sum over all that have these labels."""
        text = await asyncio.to_thread(self._text)
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def _text(self) -> str:
        with urlopen(self._url, timeout=5) as answer:
            return str(answer.read(), "utf-8")


@asynccontextmanager
async def watched(office: Office, *gates: Gate, **settings: Any) -> AsyncIterator[tuple[Worker, Gauges]]:
    port = free_port(HOST)
    routes = office.routes(gates[0].wrap) if gates else office.routes()
    async with office.working(routes, **settings) as worker:
        with metrics_served(worker, HOST, port):
            yield worker, Gauges(port)


def ask_for_codes(office: Office, *users: str) -> None:
    for user in users:
        office.story.add_user(user)
        office.story.ask_for_code(user)
    office.story.handle()


@pytest.mark.parity("S5.15")
async def test_attempts_are_counted_by_their_outcome(office: Office) -> None:
    await office.web.set_fault("email", "rcpt", "refuse", code=451, to="bob@example.com")
    await office.web.set_fault("email", "rcpt", "refuse", code=550, to="cat@example.com")
    ask_for_codes(office, "ann", "bob", "cat")
    async with watched(office) as (worker, gauges):
        await until(lambda: not office.busy() and not worker.under_way())
        for outcome in ("delivered", "deferred", "rejected"):
            assert await gauges.read("tidings_attempts_total", **CODE, outcome=outcome) == 1
        assert await gauges.read("tidings_retries_total") == 0
        office.clock.move(seconds=100)
        await until(lambda: not office.busy() and not worker.under_way())
        assert await gauges.read("tidings_attempts_total", **CODE, outcome="delivered") == 2
        assert await gauges.read("tidings_retries_total", **CODE) == 1
        assert await gauges.read("tidings_results_recorded_total") == 4


@pytest.mark.parity("S5.15")
async def test_time_in_the_queue_and_on_the_channel_is_measured(office: Office) -> None:
    ask_for_codes(office, "ann")
    office.clock.move(seconds=90)
    gate = Gate()
    async with watched(office, gate) as (worker, gauges):
        await gate.reached.wait()
        loop = asyncio.get_running_loop()
        later = loop.time() + 0.3
        await until(lambda: loop.time() > later)
        gate.open.set()
        await until(lambda: not worker.under_way())
        assert await gauges.read("tidings_queued_seconds_count", channel="email") == 1
        assert await gauges.read("tidings_queued_seconds_sum", channel="email") == 90
        assert await gauges.read("tidings_queued_seconds_bucket", channel="email", le="60.0") == 0
        assert await gauges.read("tidings_queued_seconds_bucket", channel="email", le="300.0") == 1
        assert await gauges.read("tidings_send_seconds_count", channel="email") == 1
        assert 0.3 <= await gauges.read("tidings_send_seconds_sum", channel="email") < 10


@pytest.mark.parity("S5.15", "LSE-11")
async def test_results_that_wait_are_shown_until_they_are_written(office: Office, conninfo: str) -> None:
    ask_for_codes(office, "ann", "bob")
    gate = Gate(after=True)
    with psycopg.connect(conninfo) as other:
        async with watched(office, gate, lease=LONG) as (worker, gauges):
            await until(lambda: office.story.count("due_notifications") == 2 == len(worker.under_way()))
            await gate.reached.wait()
            assert await gauges.read("tidings_results_waiting") == 0
            await until(lambda: _transmitting(office) == 2)
            other.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
            gate.open.set()
            async with asyncio.timeout(5):
                while await gauges.read("tidings_results_waiting") < 2:
                    pass
            assert await gauges.read("tidings_results_recorded_total") == 0
            other.rollback()
            await until(lambda: not worker.under_way())
            assert await gauges.read("tidings_results_waiting") == 0
            assert await gauges.read("tidings_results_recorded_total") == 2


def _transmitting(office: Office) -> int:
    return sum("TransmissionStarted" in office.topics(one.id) for one in office.story.decisions())


@pytest.mark.parity("S5.15", "LSE-12")
async def test_what_is_under_way_is_shown(office: Office) -> None:
    ask_for_codes(office, "ann", "bob")
    gate = Gate()
    async with watched(office, gate) as (worker, gauges):
        await until(lambda: len(worker.under_way()) == 2)
        assert await gauges.read("tidings_deliveries_under_way", **CODE) == 2
        gate.open.set()
        await until(lambda: not worker.under_way())
        assert await gauges.read("tidings_deliveries_under_way") == 0


async def test_a_port_that_is_taken_is_named(office: Office) -> None:
    with bound_socket(HOST, 0) as other:
        other.listen()
        port = other.getsockname()[1]
        async with office.working() as worker:
            with pytest.raises(PortTaken, match=f"port {port} .* workers.metrics_port"):
                metrics_served(worker, HOST, port).__enter__()
