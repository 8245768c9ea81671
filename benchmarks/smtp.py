"""Our pooled, pipelined channel against aiosmtplib and the C client of Postfix, into its C sink.

The same mail of 8 KiB in two parts, made beforehand, over the same number of connections; the runs taken in
turns, the ratios run by run. The sink shares the machine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.peers.cache import Missing, postfix
from benchmarks.peers.figures import Figures, ratios
from benchmarks.peers.senders import (
    CONNECTIONS,
    Sender,
    aiosmtplib_pool,
    aiosmtplib_pool_plain,
    aiosmtplib_send,
    c_client,
    mail,
    our_channel,
)
from benchmarks.peers.sinks import Sink, sink
from tidings.running import run_fast

OURS, POOL, FAST_POOL, SEND, C = "tidings", "aiosmtplib", "aiosmtplib_uvloop", "aiosmtplib_send", "c"
TITLES = {
    OURS: f"Tidings' channel, {CONNECTIONS} connections kept, pipelined, on uvloop",
    POOL: f"aiosmtplib, {CONNECTIONS} connections kept",
    FAST_POOL: f"aiosmtplib on uvloop, {CONNECTIONS} connections kept",
    SEND: f"aiosmtplib.send on uvloop, {CONNECTIONS} at once, a connection a message",
    C: f"smtp-source (C), {CONNECTIONS} connections kept",
}


class Plan(msgspec.Struct, frozen=True):
    runs: int
    seconds: float
    """Each sender sends for, in each run."""


async def measure(senders: dict[str, Sender], into: Sink, plan: Plan) -> dict[str, Figures]:
    content = mail()
    rates: dict[str, list[float]] = {name: [] for name in senders}
    for number in range(plan.runs):
        for name in list(senders)[:: -1 if number % 2 else 1]:
            rates[name].append(await senders[name](into, content, plan.seconds))
    return {name: Figures(tuple(values)) for name, values in rates.items()}


def show(rates: dict[str, Figures], into: Sink, missing: dict[str, str], console: Console) -> None:
    runs = len(rates[OURS].values)
    title = f"mails of 8 KiB into {into.what}: {runs} runs in turns, median (least to most)"
    table = Table("sender", "mails/s", "Tidings to it", title=title)
    for name, figures in rates.items():
        table.add_row(TITLES[name], str(figures), str(ratios(rates[OURS], figures)))
    console.print(table)
    for name, why in missing.items():
        console.print(f"without {name}: {why}")


def summary(rates: dict[str, Figures], into: Sink, missing: dict[str, str]) -> dict[str, object]:
    ours = rates[OURS]
    result: dict[str, object] = {"messages_per_s": round(ours.median, 1)}
    for name, figures in rates.items():
        if name != OURS:
            result[f"{name}_per_s"] = round(figures.median, 1)
            result[f"ratio_{name}"] = round(ratios(ours, figures).median, 3)
    return result | {"sink": into.what, "missing": missing}


async def main(plan: Plan) -> None:
    console = Console()
    programs = postfix(console.print)
    senders: dict[str, Sender] = {
        OURS: our_channel,
        POOL: aiosmtplib_pool_plain,
        FAST_POOL: aiosmtplib_pool,
        SEND: aiosmtplib_send,
    }
    with tempfile.TemporaryDirectory(prefix="tidings-bench-") as name:
        directory, missing = Path(name), {}
        if isinstance(programs, Missing):
            missing = {C: programs.why}
        else:
            senders[C] = c_client(programs, directory)
        async with sink(programs, directory) as into:
            rates = await measure(senders, into, plan)
    show(rates, into, missing, console)
    print(json.dumps(summary(rates, into, missing)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each sender in each run")
    parser.add_argument("--quick", action="store_true", help="two runs of a second")
    options = parser.parse_args()
    run_fast(main(Plan(2, 1.0) if options.quick else Plan(options.runs, options.seconds)))
