"""Where mutants were found last, kept among the caches: the next run looks there first."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec

FILE = Path(__file__).parent.parent.parent / ".cache" / "simulation" / "mutants.json"
COMMON = 25
"""Seeds that have found most of the others, tried next."""


class Memory:
    """Seeds by the mutants' names. What is remembered only decides what is tried first."""

    def __init__(self, file: Path = FILE) -> None:
        self._file = file
        self._seeds: dict[str, int] = msgspec.json.decode(file.read_bytes()) if file.exists() else {}

    def likely(self, name: str) -> tuple[int, ...]:
        known = [self._seeds[name]] if name in self._seeds else []
        common = [seed for seed, _ in Counter(self._seeds.values()).most_common(COMMON)]
        return tuple(dict.fromkeys(known + common))

    def note(self, name: str, seed: int) -> None:
        """Written at once: a run that is cut short has not been for nothing."""
        if self._seeds.get(name) != seed:
            self._seeds[name] = seed
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_bytes(msgspec.json.encode(self._seeds))
