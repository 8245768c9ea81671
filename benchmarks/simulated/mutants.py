"""Single-line mutants of claim, fence, point of no return and write-back.

A mutant changes one comparison, condition, constant, operator or statement of one function. It takes the
place of the function's code, so that whoever imported the function runs it.
"""

from __future__ import annotations

import ast
import gc
import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import msgspec

from benchmarks.simulated import due_statements
from benchmarks.simulated.patches import standing
from benchmarks.simulated.schedule import run
from event_log import due_queue, log, notifications
from notification_domain import notification, policies
from workers import loading, recorder, recording, starting, worker

PLACES: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    # Claim and fence, as statements and around them.
    ("claim", due_statements, ("claim", "_in_turn", "_served", "_candidates", "_lease")),
    ("fence", due_statements, ("held", "renew", "release", "_claimed")),
    ("queue", due_statements, ("put", "remove", "pull_forward")),
    ("due_queue", due_queue, ("due_row", "put", "remove", "claim", "held", "renew", "release")),
    ("versions", log.Append, ("versions",)),
    ("recording", recording, ("advance", "_decide", "_may_write", "_move", "_at")),
    # The point of no return.
    ("no return", recording, ("_obstacles", "what_matters", "stands_against", "_user_state", "_names")),
    ("obstacles", policies, ("obstacle", "user_obstacle", "_speaks_for")),
    ("aggregate", notification, ("_start_attempt", "_start_transmission", "_doubt", "after_unknown")),
    ("worker", worker.Worker, ("transmit", "send")),
    ("delivery", worker._Delivery, ("begin", "run")),  # noqa: SLF001  # where the intent is asked for
    ("starting", starting, ("_ended",)),
    ("loading", loading, ("load", "_with_obstacles", "reload")),
    ("recorder", recorder.Recorder, ("apply", "_refreshed", "_second_look")),
    # Write-back, and what else follows from an ending.
    (
        "write-back",
        notifications,
        ("store", "_write_backs", "_write_back", "_envelopes", "_waits", "cause_of"),
    ),
)


class Mutant(msgspec.Struct, frozen=True):
    place: str
    number: int
    """Among those of its place."""
    label: str
    function: str
    source: str


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


def attempt(task: tuple[str, int, int]) -> tuple[str, int | None]:
    """A mutant's label and the first seed that shows it."""
    place, number, within = task
    mutant = mutants_of(place)[number]
    owner = next(owner for known, owner, _ in PLACES if known == place)
    gc.disable()
    with standing(), _in_force(owner, mutant):
        for seed in range(within):
            if _shows(seed):
                return mutant.label, seed
            if seed % 100 == 0:
                gc.collect()
    return mutant.label, None


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
    exec(
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
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
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
    for index, node in enumerate(ast.walk(body)):
        for what, change in _changes(node):
            copy = ast.parse(source)
            function = copy.body[0]
            target = list(ast.walk(function))[index]
            change(target, function)
            ast.fix_missing_locations(copy)
            text = ast.unparse(copy)
            if text != ast.unparse(tree):
                yield f"line {getattr(node, 'lineno', 0)}: {what} in `{ast.unparse(node)[:70]}`", text


_Change = Callable[[Any, Any], None]


def _changes(node: ast.AST) -> Iterator[tuple[str, _Change]]:  # noqa: C901  # a kind of node each
    if isinstance(node, ast.Compare):
        for flipped in _FLIPS.get(type(node.ops[0]), ()):
            yield f"{flipped.__name__}", lambda n, _, f=flipped: n.ops.__setitem__(0, f())
    elif isinstance(node, ast.BoolOp):
        other = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield other.__name__, lambda n, _: setattr(n, "op", other())
        for index in range(len(node.values)):
            yield f"without part {index + 1}", lambda n, _, i=index: n.values.pop(i)
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield "always", lambda n, _: setattr(n, "test", ast.Constant(value=True))
        yield "never", lambda n, _: setattr(n, "test", ast.Constant(value=False))
    elif isinstance(node, ast.comprehension) and node.ifs:
        yield "without its filter", lambda n, _: n.ifs.clear()
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not not", lambda n, _: setattr(n, "operand", ast.UnaryOp(ast.Not(), n.operand))
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield "other operator", lambda n, _: setattr(n, "op", _ARITHMETIC[type(n.op)]())
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield "one more", lambda n, _: setattr(n, "value", n.value + 1)
    elif isinstance(node, ast.Constant) and type(node.value) is bool:
        yield "the other", lambda n, _: setattr(n, "value", not n.value)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await):
        yield "left out", lambda n, _: setattr(n, "value", ast.Constant(value=None))
    elif isinstance(node, ast.AugAssign):
        yield "left out", lambda n, _: setattr(n, "value", ast.Constant(value=0))
    elif isinstance(node, ast.Call):
        for keyword in range(len(node.keywords)):
            if node.keywords[keyword].arg is not None:
                yield f"without {node.keywords[keyword].arg}", lambda n, _, k=keyword: n.keywords.pop(k)
