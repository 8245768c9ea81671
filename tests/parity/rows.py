"""The rows of docs/parity.md: what the systems we come from do, what we do, and the tests that show it."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]
_RANGE = re.compile(r"(?P<stem>.*[.-])(?P<first>\d+|[a-z])\.\.(?P<last>\d+|[a-z])")


class Breakage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One change of the product that takes a behaviour away."""

    name: str
    file: str
    old: str
    new: str


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row: tested and broken, or untested for a reason, or left for later."""

    id: str
    says: str = ""
    tests: tuple[str, ...] = ()
    breakages: tuple[str, ...] = ()
    differs: str = ""
    untested: str = ""
    later: str = ""

    @property
    def section(self) -> str:
        return re.split(r"[.-]", self.id)[0]


class Half(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of rows."""

    expects: tuple[str, ...]
    sections: dict[str, str]
    row: tuple[Row, ...] = ()
    breakage: tuple[Breakage, ...] = ()

    def expected_ids(self) -> set[str]:
        return {one for text in self.expects for one in expanded(text)}


def expanded(text: str) -> Iterator[str]:
    """``S1.1..3`` is S1.1, S1.2 and S1.3; ``S1.a..c`` likewise; anything else is itself."""
    match = _RANGE.fullmatch(text)
    if not match:
        yield text
    elif match["first"].isdigit():
        yield from (f"{match['stem']}{n}" for n in range(int(match["first"]), int(match["last"]) + 1))
    else:
        yield from (f"{match['stem']}{chr(n)}" for n in range(ord(match["first"]), ord(match["last"]) + 1))


def read_half(file: Path) -> Half:
    return msgspec.convert(tomllib.loads(file.read_text()), Half)


def halves() -> list[Half]:
    return [read_half(file) for file in sorted(Path(__file__).parent.glob("*.toml"))]


def file_and_name(test: str) -> tuple[str, str]:
    """``tests/x.py::name[case]`` without the case."""
    file, _, name = test.partition("::")
    return file, name.partition("[")[0]


def marked_tests(file: Path) -> dict[str, set[str]]:
    """The test functions of a file, each with the ids of its parity markers."""
    return {
        node.name: set(_marked(node.decorator_list))
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def _marked(decorators: Iterable[ast.expr]) -> Iterator[str]:
    for one in decorators:
        if isinstance(one, ast.Call) and ast.unparse(one.func) == "pytest.mark.parity":
            yield from (ast.literal_eval(argument) for argument in one.args)
