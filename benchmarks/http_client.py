"""A small HTTP client for load where wrk cannot be had: kept connections, one request at a time on each."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import uvloop

from benchmarks.figures import percentile

FILLING = "x" * 330


def requests(key: str, batch: int, prefix: str) -> Iterator[bytes]:
    """The same as ingest.lua's."""
    kind = "cloudevents-batch" if batch > 1 else "cloudevents"
    head = (
        "POST /v1/events HTTP/1.1\r\nHost: bench\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/{kind}+json\r\nContent-Length: "
    )
    events = (_event(prefix, number) for number in itertools.count())
    while True:
        body = ",".join(itertools.islice(events, batch))
        body = f"[{body}]" if batch > 1 else body
        yield f"{head}{len(body)}\r\n\r\n{body}".encode()


def _event(prefix: str, number: int) -> str:
    return (
        f'{{"specversion":"1.0","source":"bench","id":"{prefix}-{number}","type":"cart.filled",'
        f'"subject":"cart/{number % 1000}","data":{{"items":{number},"note":"{FILLING}"}}}}'
    )


async def client(url: str, source: Iterator[bytes], until: float) -> list[float]:
    """Seconds each request took; raises for anything but success."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    waited = []
    while (began := time.perf_counter()) < until:
        writer.write(next(source))
        await _answered(reader)
        waited.append(time.perf_counter() - began)
    writer.close()
    await writer.wait_closed()
    return waited


async def _answered(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    body = await reader.readexactly(length)
    if not head.startswith(b"http/1.1 20"):
        raise RuntimeError(body.decode())


async def main(url: str, source: Iterator[bytes], clients: int, seconds: float) -> None:
    began = time.perf_counter()
    waited = await asyncio.gather(*(client(url, source, began + seconds) for _ in range(clients)))
    every = list(itertools.chain.from_iterable(waited))
    told = {
        "requests": len(every),
        "seconds": time.perf_counter() - began,
        "errors": 0,
        "p50_ms": percentile(every, 0.5) * 1000,
        "p99_ms": percentile(every, 0.99) * 1000,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("url", "key", "prefix"):
        parser.add_argument(name)
    for name in ("batch", "clients"):
        parser.add_argument(name, type=int)
    parser.add_argument("seconds", type=float)
    options = parser.parse_args()
    wanted = requests(options.key, options.batch, options.prefix)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(options.url, wanted, options.clients, options.seconds))
