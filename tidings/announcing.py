"""What `tidings up` tells on standard output, as lines for people or as JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec


class Announce(Protocol):
    def __call__(self, happening: str, lines: Sequence[str], **facts: Any) -> None:  # noqa: ANN401 - JSON
        """``lines`` for people, or the name of what happened and its facts for programs."""


def announce_lines(happening: str, lines: Sequence[str], **facts: Any) -> None:  # noqa: ANN401 - JSON
    del happening, facts
    _write("".join(f"{line}\n" for line in lines))


def announce_json(happening: str, lines: Sequence[str], **facts: Any) -> None:  # noqa: ANN401 - JSON
    del lines
    _write(msgspec.json.encode({"event": happening, **facts}).decode() + "\n")


def _write(text: str) -> None:
    # Flushed at once: whoever waits for a line may have sent us to a file.
    sys.stdout.write(text)
    sys.stdout.flush()
