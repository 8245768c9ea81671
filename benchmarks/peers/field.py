"""Who takes part in the benchmark of queues: Tidings, and as many of its peers as can be had."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from benchmarks.peers.cache import HERE, Missing, Report, node_peers, python_peers
from benchmarks.peers.contender import Contender
from benchmarks.peers.speaking import CONCURRENCY

_SENT_IN_FULL = """
SELECT least(count(*) FILTER (WHERE topic = 'notification.attempt.started'),
             count(*) FILTER (WHERE topic = 'notification.transmission.started'),
             count(*) FILTER (WHERE topic = 'notification.sent'),
             count(*) FILTER (WHERE topic LIKE '%.code.sent'))
  FROM events
"""
"""Two intents, an outcome and a write-back for each, or it does not count."""


class Field(msgspec.Struct, frozen=True):
    contenders: tuple[Contender, ...]
    """Tidings first."""
    missing: dict[str, str]
    """Why, by the name of what could not be had."""


def field(data: Path, report: Report) -> Field:
    """``data`` is where the deployment's key of this benchmark is."""
    contenders = [_tidings("tidings", "verification", data), _tidings("tidings_mail", "mail", data)]
    missing: dict[str, str] = {}
    for have, make in ((python_peers, _on_python), (node_peers, _on_node)):
        found = have(report)
        peers = make(found if isinstance(found, Path) else Path())
        if isinstance(found, Missing):
            missing |= {peer.name: found.why for peer in peers}
        else:
            contenders += peers
    return Field(tuple(contenders), missing)


def _tidings(name: str, kind: str, data: Path) -> Contender:
    what = "nothing to render" if kind == "verification" else "a mail rendered"
    program = str(HERE / "tidings_queue.py")
    return Contender(
        name=name,
        how=f"psycopg; claims of {CONCURRENCY}, {CONCURRENCY} at once; {what}; all events durable",
        command=(sys.executable, program, "{conninfo}", str(data), kind),
        left="SELECT count(*) FROM due_notifications",
        proof=_SENT_IN_FULL,
    )


def _on_python(interpreter: Path) -> list[Contender]:
    python, of_pgqueuer = str(interpreter), str(HERE / "pgqueuer_queue.py")
    left = "SELECT count(*) FROM pgqueuer"
    how = f"batches of {CONCURRENCY}"
    return [
        Contender(
            name="procrastinate",
            how=f"psycopg; fetches one by one, {CONCURRENCY} at once",
            command=(python, str(HERE / "procrastinate_queue.py"), "{conninfo}"),
            left="SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')",
        ),
        Contender("pgqueuer", f"psycopg; {how}", (python, of_pgqueuer, "{conninfo}", "psycopg"), left),
        Contender(
            "pgqueuer_asyncpg", f"asyncpg; {how}", (python, of_pgqueuer, "{conninfo}", "asyncpg"), left
        ),
    ]


def _on_node(modules: Path) -> list[Contender]:
    environment = {"NODE_PATH": str(modules)}
    return [
        Contender(
            name="graphile_worker",
            how=f"Node; local queue of {CONCURRENCY}, {CONCURRENCY} at once",
            command=("node", str(HERE / "graphile_worker.cjs"), "{address}"),
            left="SELECT count(*) FROM graphile_worker.jobs",
            environment=environment,
        ),
        Contender(
            name="pg_boss",
            how=f"Node; 10 loops of fetch and complete, batches of {CONCURRENCY}; idle: polls each 0.5 s",
            command=("node", str(HERE / "pg_boss.cjs"), "{address}"),
            left="SELECT count(*) FROM pgboss.job WHERE state < 'completed'",
            environment=environment,
        ),
    ]
