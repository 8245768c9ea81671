"""Named statements in ``.sql`` files: ``-- name: claim`` begins one, the next name ends it."""

from __future__ import annotations

import re
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


class Queries:
    """The statements of one file, as attributes."""

    def __init__(self, statements: dict[str, str]) -> None:
        self._statements = statements

    def __getattr__(self, name: str) -> str:
        try:
            return self._statements[name]
        except KeyError:
            raise AttributeError(name) from None


def load(package: str, file: str) -> Queries:
    parts = _NAME.split((files(package) / file).read_text())
    return Queries(dict(zip(parts[1::2], (text.strip() for text in parts[2::2]), strict=True)))
