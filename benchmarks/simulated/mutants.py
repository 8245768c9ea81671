"""Single-line mutants of claim, fence, point of no return and write-back.

A mutant changes one comparison, condition, constant, operator or statement of one function. It takes the
place of the function's code, so that whoever imported the function runs it.
"""

from __future__ import annotations

import ast
import gc
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from random import Random
from types import FunctionType
from typing import Any

import msgspec

from benchmarks.simulated import due_statements
from benchmarks.simulated.equivalents import LINE, equivalents
from benchmarks.simulated.model import Calm, ModelDatabase, ModelLog
from benchmarks.simulated.moves import MOVES, Queue, all_moves, all_moves_in_order
from benchmarks.simulated.patches import standing
from benchmarks.simulated.schedule import run
from benchmarks.simulated.tables import Tables
from event_log import due_queue, log, notifications
from notification_domain import notification, policies
from workers import delivery, loading, recorder, recording, starting, worker

PLACES: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    # Claim and fence, as statements and around them.
    (
        "claim",
        due_statements,
        ("waiting", "claim", "_in_turn", "_served", "_candidates", "_free", "_has_expired", "_lease"),
    ),
    ("claim in order", due_statements, ("claim_in_order", "_head", "_expired")),
    ("fence", due_statements, ("held", "renew", "release", "_claimed")),
    ("queue", due_statements, ("put", "remove", "pull_forward")),
    (
        "due_queue",
        due_queue,
        ("due_row", "put", "remove", "in_turn", "claim", "shares", "held", "renew", "release"),
    ),
    ("versions", log.Append, ("versions",)),
    (
        "recording",
        recording,
        (
            "advance",
            "_decide",
            "_may_write",
            "_move",
            "_at",
            "_ends",
            "_is_judged_now",
            "_may_be_over",
            "_objected",
        ),
    ),
    # The point of no return.
    (
        "no return",
        recording,
        (
            "_obstacles",
            "objections",
            "_objections",
            "_trusted",
            "what_matters",
            "_drafted",
            "_stands",
            "stands_against",
            "_overtaken",
            "_known",
            "_doubt",
            "_is_unclear",
            "_user_state",
            "_state_of",
            "_understood",
            "_names",
        ),
    ),
    ("obstacles", policies, ("obstacle", "_is_about", "user_obstacle", "removal_obstacle", "_speaks_for")),
    (
        "aggregate",
        notification,
        ("_start_attempt", "_start_transmission", "_doubt", "after_unknown", "_settled"),
    ),
    ("worker", worker.Worker, ("transmit", "send")),
    ("delivery", delivery.Delivery, ("begin", "run")),  # where the intent is asked for
    ("starting", starting, ("_ended",)),
    ("loading", loading, ("load", "_loaded", "_told_until", "reload")),
    ("recorder", recorder.Recorder, ("apply", "_refreshed", "_second_look")),
    # Write-back, and what else follows from an ending.
    (
        "write-back",
        notifications,
        (
            "change",
            "store",
            "close",
            "store_unless_overtaken",
            "_write_backs",
            "_write_back",
            "_generator",
            "_envelopes",
            "_waits",
            "cause_of",
        ),
    ),
)


CONTRACT = -1
"""In place of a seed: the contract suite sees it."""
ENOUGH = 100
"""Seeds that a mutant known to be equivalent must pass: so many that a wrong entry is noticed."""


class Mutant(msgspec.Struct, frozen=True):
    place: str
    number: int
    """Among those of its place."""
    label: str
    function: str
    source: str

    @property
    def name(self) -> str:
        """The label without the line, which moves."""
        return LINE.sub("", self.label, count=1)

    @property
    def known_equivalent(self) -> bool:
        return self.name in equivalents()


class Tried(msgspec.Struct, frozen=True):
    """What became of a mutant."""

    label: str
    seed: int | None
    """One that shows it, or CONTRACT."""
    known_equivalent: bool

    @property
    def name(self) -> str:
        return LINE.sub("", self.label, count=1)


class Task(msgspec.Struct, frozen=True):
    """A mutant to be tried: in likely seeds first, then in so many."""

    place: str
    number: int
    likely: tuple[int, ...]
    within: int


def all_mutants() -> list[Mutant]:
    return [mutant for place, _, _ in PLACES for mutant in mutants_of(place)]


def mutants_of(place: str) -> list[Mutant]:
    owner, names = next((owner, names) for known, owner, names in PLACES if known == place)
    found: list[Mutant] = []
    for name in names:
        function = inspect.unwrap(owner.__dict__[name])
        source = textwrap.dedent(inspect.getsource(function))
        for label, text in _variants(source):
            found.append(Mutant(place, len(found), f"{place}: {name}: {label}", name, text))
    return found


def _observed() -> list[Any]:
    """What the contract suite sees of the model in its random moves: the same as of PostgreSQL."""
    seen: list[Any] = []
    for seed in MOVES:
        queue = model_queue()
        seen += all_moves(queue, seed)
    return [*seen, *all_moves_in_order(model_queue(), 0)]


def model_queue() -> Queue:
    log = ModelLog(ModelDatabase(Tables(lambda: 1000.0), Calm(), lambda: 1000.0), Random(0).randbytes)
    return Queue(log, modelled=True)


@cache
def _expected() -> list[Any]:
    return _observed()


def _differs() -> bool:
    try:
        return _observed() != _expected()
    except Exception:  # noqa: BLE001  # a difference too
        return True


def attempt(task: Task) -> Tried:
    """A mutant against the contract suite's moves, then against schedules."""
    mutant = mutants_of(task.place)[task.number]
    owner = next(owner for known, owner, _ in PLACES if known == task.place)
    gc.disable()
    _expected()
    within = min(task.within, ENOUGH) if mutant.known_equivalent else task.within
    seeds = dict.fromkeys((*task.likely, *range(within)))
    with standing(), _in_force(owner, mutant):
        in_contract = owner in (due_statements, due_queue) and _differs()
        return Tried(mutant.label, CONTRACT if in_contract else _first(seeds), mutant.known_equivalent)


def _first(seeds: Iterable[int]) -> int | None:
    for played, seed in enumerate(seeds):
        if _shows(seed):
            return seed
        if played % 100 == 0:
            gc.collect()
    return None


def _shows(seed: int) -> bool:
    try:
        return bool(run(seed).violations)
    except Exception:  # noqa: BLE001  # a mutant may break the checks' own assumptions
        return True


@contextmanager
def _in_force(owner: Any, mutant: Mutant) -> Iterator[None]:  # noqa: ANN401  # a module or a class
    function: FunctionType = inspect.unwrap(owner.__dict__[mutant.function])
    kept, names = function.__code__, function.__globals__
    made: dict[str, Any] = {}
    exec(  # noqa: S102  # a mutant of our own code
        compile("from __future__ import annotations\n" + mutant.source, mutant.label, "exec"),
        dict(names),
        made,
    )
    code = inspect.unwrap(made[mutant.function]).__code__
    function.__code__ = (
        code.replace(co_freevars=kept.co_freevars) if code.co_freevars != kept.co_freevars else code
    )
    try:
        yield
    finally:
        function.__code__ = kept


# --- what is changed ------------------------------------------------------------------------------

_FLIPS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.BitOr: ast.BitAnd,
}


def _variants(source: str) -> Iterator[tuple[str, str]]:
    tree = ast.parse(source)
    body = tree.body[0]
    assert isinstance(body, ast.FunctionDef | ast.AsyncFunctionDef)
    typed = {id(part) for node in _annotations(body) for part in ast.walk(node)}
    around = {id(child): node for node in ast.walk(body) for child in ast.iter_child_nodes(node)}
    for index, node in enumerate(ast.walk(body)):
        if id(node) in typed:
            continue
        for what, change in _changes(node):
            copy = ast.parse(source)
            function = copy.body[0]
            target = list(ast.walk(function))[index]
            change(target)
            ast.fix_missing_locations(copy)
            text = ast.unparse(copy)
            if text != ast.unparse(tree):
                code = " ".join(ast.unparse(_shown(node, around)).split())[:70]
                yield f"line {getattr(node, 'lineno', 0)}: {what} in `{code}`", text


def _shown(node: ast.AST, around: dict[int, ast.AST]) -> ast.AST:
    """A number says nothing without what it stands in."""
    if not isinstance(node, ast.Constant):
        return node
    shown = around[id(node)]
    while isinstance(shown, ast.UnaryOp | ast.Slice):
        shown = around[id(shown)]
    return shown


def _annotations(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    for node in ast.walk(function):
        noted = getattr(node, "annotation", None) or getattr(node, "returns", None)
        if isinstance(noted, ast.AST):
            yield noted


_Change = Callable[[Any], None]


def _set(field: str, value: Any) -> _Change:  # noqa: ANN401  # a node, or what a constant holds
    return lambda node: setattr(node, field, value)


def _put(field: str, index: int, value: ast.AST) -> _Change:
    return lambda node: getattr(node, field).__setitem__(index, value)


def _drop(field: str, index: int) -> _Change:
    def change(node: Any) -> None:  # noqa: ANN401  # a node with such a field
        getattr(node, field).pop(index)

    return change


_INDIFFERENT = frozenset({None, "strict", "prepare", "binary"})
"""Keyword arguments that no result depends on."""
_NOTHING_IN_USE = ("failpoint(", "_logger.")
"""What does nothing outside the tests that kill at it, or only tells of it."""


def _changes(node: ast.AST) -> Iterator[tuple[str, _Change]]:
    """What may be changed in one node."""
    if isinstance(node, ast.Compare):
        for flipped in _FLIPS.get(type(node.ops[0]), ()):
            yield flipped.__name__, _put("ops", 0, flipped())
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield type(other).__name__, _set("op", other)
        for index in range(len(node.values)):
            yield f"without part {index + 1}", _drop("values", index)
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield "always", _set("test", ast.Constant(value=True))
        yield "never", _set("test", ast.Constant(value=False))
    else:
        yield from _smaller_changes(node)


def _smaller_changes(node: ast.AST) -> Iterator[tuple[str, _Change]]:  # noqa: C901  # a kind of node each
    if isinstance(node, ast.comprehension) and node.ifs:
        yield "without its filter", _set("ifs", [])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "without not", _set("operand", ast.UnaryOp(ast.Not(), node.operand))
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield "other operator", _set("op", _ARITHMETIC[type(node.op)]())
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield "one more", _set("value", node.value + 1)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await):
        if not ast.unparse(node).startswith(_NOTHING_IN_USE):
            yield "left out", _set("value", ast.Constant(value=None))
    elif isinstance(node, ast.AugAssign):
        yield "left out", _set("value", ast.Constant(value=0))
    elif isinstance(node, ast.Call):
        for index, keyword in enumerate(node.keywords):
            if keyword.arg not in _INDIFFERENT:
                yield f"without {keyword.arg}", _drop("keywords", index)
