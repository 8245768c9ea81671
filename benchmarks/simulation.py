"""Schedules of the whole delivery engine under a virtual clock, with faults and crashes from their seeds.

Then planted bugs, each of which must be found. `--seed N --trace` plays one schedule again and prints it.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import sys
import time
from collections.abc import Iterable, Iterator
from statistics import median

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.simulated import mutants, planted, sql_mutants
from benchmarks.simulated.memory import Memory
from benchmarks.simulated.patches import standing
from benchmarks.simulated.schedule import Report, replay, run

SCHEDULES, QUICK_SCHEDULES = 150_000, 2_000
CHUNK = 100
WITHIN, QUICK_WITHIN = 10_000, 2_000
"""Seeds in which a planted bug must be found."""
SHOWN = 10

_errors = Console(stderr=True)


class Part(msgspec.Struct, frozen=True):
    schedules: int
    crashes: int
    failed: tuple[Report, ...]
    digests: tuple[str, ...]


class Found(msgspec.Struct, frozen=True):
    name: str
    seed: int | None
    violation: str = ""


def play(seeds: range) -> Part:
    gc.disable()
    with standing():
        reports = [run(seed) for seed in seeds]
    gc.collect()
    failed = tuple(report for report in reports if report.violations)
    digests = tuple(report.digest for report in reports)
    return Part(len(reports), sum(report.crashes for report in reports), failed, digests)


def hunt(task: tuple[str, int]) -> Found:
    """The first seed that shows a planted bug."""
    name, within = task
    gc.disable()
    with standing(), planted.planted(name):
        for seed in range(within):
            report = run(seed)
            if report.violations:
                return Found(name, seed, report.violations[0])
            if seed % CHUNK == 0:
                gc.collect()
    return Found(name, None)


def chunks(first: int, count: int) -> Iterator[range]:
    for start in range(first, first + count, CHUNK):
        yield range(start, min(start + CHUNK, first + count))


def told(parts: Iterable[Part], count: int) -> Iterator[Part]:
    """The parts as they come, with a line of progress now and then."""
    began = last = time.monotonic()
    done = crashes = failed = 0
    for part in parts:
        done, crashes, failed = done + part.schedules, crashes + part.crashes, failed + len(part.failed)
        for report in part.failed:
            _errors.print(f"seed {report.seed}: {report.violations[0]}", highlight=False, markup=False)
        if time.monotonic() - last > 5 or done == count:  # seconds
            last = time.monotonic()
            rate = done / max(last - began, 0.001)
            _errors.print(f"{done} of {count} schedules, {crashes} crashes, {failed} failed, {rate:.0f}/s")
        yield part


def main(options: argparse.Namespace) -> int:
    began = time.monotonic()
    count = options.schedules or (QUICK_SCHEDULES if options.quick else SCHEDULES)
    within = QUICK_WITHIN if options.quick else WITHIN
    with multiprocessing.get_context("spawn").Pool(options.processes, maxtasksperchild=50) as pool:
        parts = list(told(pool.imap_unordered(play, chunks(options.seed, count)), count))
        hunted = list(pool.imap_unordered(hunt, [(name, within) for name in planted.names()]))
    failed = [report for part in parts for report in part.failed]
    digests = {digest for part in parts for digest in part.digests}
    show(failed, hunted)
    found = [one for one in hunted if one.seed is not None]
    result = {
        "schedules": sum(part.schedules for part in parts),
        "crashes": sum(part.crashes for part in parts),
        "violations": len(failed),
        "planted": len(hunted),
        "planted_found": len(found),
        "median_seed": median(one.seed for one in found if one.seed is not None) if found else None,
        "distinct": len(digests),
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(result))
    return int(bool(failed) or len(found) < len(hunted))


def show(failed: list[Report], hunted: list[Found]) -> None:
    console = Console()
    table = Table("planted bug", "first seed", "what was seen")
    for one in sorted(hunted, key=lambda one: one.name):
        table.add_row(one.name, "not found" if one.seed is None else str(one.seed), one.violation[:100])
    console.print(table)
    for report in failed[:SHOWN]:
        console.print(f"[red]seed {report.seed}[/red]: {report.violations[0]}", highlight=False)
        console.print(f"  ./scripts/bench simulation --seed {report.seed} --trace", highlight=False)


def show_trace(seed: int) -> int:
    with standing():
        for line in replay(seed):
            print(line)
        report = run(seed)
    for violation in report.violations:
        print(f"violation: {violation}")
    print(
        json.dumps({"seed": seed, "crashes": report.crashes, "steps": report.steps, "digest": report.digest})
    )
    return int(bool(report.violations))


def show_mutants(options: argparse.Namespace) -> int:
    began = time.monotonic()
    memory = Memory()
    tasks = [
        mutants.Task(mutant.place, mutant.number, memory.likely(mutant.name), options.within)
        for mutant in mutants.all_mutants()
        if options.only in mutant.label
    ]
    tried: list[mutants.Tried] = []
    with multiprocessing.get_context("spawn").Pool(options.processes, maxtasksperchild=25) as pool:
        for one in noted(pool.imap_unordered(mutants.attempt, tasks), len(tasks)):
            tried.append(one)
            if one.seed not in {None, mutants.CONTRACT}:
                memory.note(one.name, one.seed)
    return judged(tried, began)


def show_sql_mutants() -> int:
    began = time.monotonic()
    return judged(list(noted(sql_mutants.attempts(), len(sql_mutants.all_sql_mutants()))), began)


def judged(tried: list[mutants.Tried], began: float) -> int:
    """Fails when a mutant survives that is not known to be equivalent, or one is found that is."""
    survived = [one for one in tried if one.seed is None]
    unexpected = [one for one in tried if one.known_equivalent != (one.seed is None)]
    say(f"{len(unexpected)} of {len(tried)} are not as they should be" + ":" * bool(unexpected))
    for one in unexpected:
        say(f"  {as_told(one)}")
    result = {
        "mutants": len(tried),
        "killed": len(tried) - len(survived),
        "by_contract": sum(one.seed == mutants.CONTRACT for one in tried),
        "equivalent": sum(one.known_equivalent for one in survived),
        "survived": sum(not one.known_equivalent for one in survived),
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(result))
    return int(bool(unexpected))


def say(line: str) -> None:
    _errors.print(line, highlight=False, markup=False, soft_wrap=True)


def as_told(one: mutants.Tried) -> str:
    return f"survived: {one.label}" if one.seed is None else f"not equivalent ({one.seed}): {one.label}"


def noted(tried: Iterable[mutants.Tried], count: int) -> Iterator[mutants.Tried]:
    """The mutants as they come, with a line for each that nobody expected."""
    for done, one in enumerate(tried, 1):
        if one.known_equivalent != (one.seed is None):
            say(as_told(one))
        if done % 20 == 0:
            say(f"{done} of {count}")
        yield one


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=0, help=f"how many (default {SCHEDULES})")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SCHEDULES} schedules")
    parser.add_argument("--trace", action="store_true", help="play the one seed and print what happens")
    parser.add_argument("--mutants", action="store_true", help="mutate the code line by line instead")
    parser.add_argument("--sql-mutants", action="store_true", help="mutate the due queue's SQL instead")
    parser.add_argument("--within", type=int, default=2000, help="seeds in which a mutant must be found")
    parser.add_argument("--only", default="", metavar="TEXT", help="mutants whose label has this")
    parser.add_argument("--processes", type=int, default=None)
    chosen = parser.parse_args()
    if chosen.trace:
        sys.exit(show_trace(chosen.seed))
    if chosen.sql_mutants:
        sys.exit(show_sql_mutants())
    sys.exit(show_mutants(chosen) if chosen.mutants else main(chosen))
