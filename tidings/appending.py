"""Appends CloudEvents from a file of JSON lines over REST, and knows which lines were refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from tidings.errors import Refused
from tidings.rest import Service

BATCH_EVENTS = 500
BATCH_BYTES = 3 * 1024 * 1024
_ABOUT_AN_EVENT = re.compile(r"/(\d+)(/.*)?")
_FAULTY = (400, 413, 422)


class Line(msgspec.Struct, frozen=True):
    number: int
    """Counted from 1."""
    text: bytes


class RefusedLine(msgspec.Struct, frozen=True):
    line: int
    detail: str


class Appending(msgspec.Struct):
    """How far a file has come."""

    appended: int = 0
    duplicates: int = 0
    refused: list[RefusedLine] = []


async def append_lines(
    service: Service, lines: Iterable[bytes], progress: Callable[[Sequence[Line]], None] = lambda _: None
) -> Appending:
    """A refused line does not keep the others back. Raises Refused when a whole request is refused."""
    done = Appending()
    for batch in _batches(_numbered(lines, done)):
        await _append(service, batch, done)
        progress(batch)
    done.refused.sort(key=lambda refused: refused.line)
    return done


def _numbered(lines: Iterable[bytes], done: Appending) -> Iterator[Line]:
    for number, text in enumerate(lines, start=1):
        fault = _fault(text) if text.strip() else ""
        if fault:
            done.refused.append(RefusedLine(number, fault))
        elif text.strip():
            yield Line(number, text.strip())


def _fault(text: bytes) -> str:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return f"is not JSON: {error}"
    return "" if isinstance(value, dict) else "is not a JSON object"


def _batches(lines: Iterable[Line]) -> Iterator[list[Line]]:
    batch: list[Line] = []
    size = 0
    for line in lines:
        if batch and (len(batch) == BATCH_EVENTS or size + len(line.text) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line.text) + 1
    if batch:
        yield batch


async def _append(service: Service, batch: list[Line], done: Appending) -> None:
    """A batch is stored whole or not at all: without the lines that are at fault it is sent again."""
    left = batch
    while left:
        try:
            answer = await service.append(b"[" + b",".join(line.text for line in left) + b"]")
        except Refused as refused:
            faults = _faults(refused)
            done.refused += [RefusedLine(left[index].number, detail) for index, detail in faults.items()]
            left = [line for index, line in enumerate(left) if index not in faults]
        else:
            _count(answer, done)
            return


def _faults(refused: Refused) -> dict[int, str]:
    """What is wrong, by the event's place in the batch; raises what was refused when no event is named."""
    faults: dict[int, str] = {}
    errors: Any = refused.problem.get("errors") if refused.http_status in _FAULTY else None
    for error in errors or ():
        named = _ABOUT_AN_EVENT.fullmatch(str(error.get("pointer", "")))
        if named:
            faults.setdefault(
                int(named[1]), f"{(named[2] or '').strip('/')} {error.get('detail', '')}".strip()
            )
    if not faults:
        raise refused
    return faults


def _count(answer: dict[str, Any], done: Appending) -> None:
    duplicates = sum(1 for item in answer.get("items", ()) if item.get("duplicate"))
    done.duplicates += duplicates
    done.appended += len(answer.get("items", ())) - duplicates
