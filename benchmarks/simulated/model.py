"""A log on the tables: connections, cursors and transactions as the real code knows them.

Everything above SQL is the real thing: mapper, keys, seals, intake, due queue, handler, recording.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol

from benchmarks.simulated import due_statements as due
from benchmarks.simulated import statements as plain
from benchmarks.simulated.statements import Parameters, Statement
from benchmarks.simulated.tables import Tables
from event_log.deployment_key import DeploymentKey, Seal
from event_log.errors import LogUnavailable
from event_log.keyring import Keyring
from event_log.log import Log
from event_log.mapper import LogMapper
from event_log.recorder import LogRecorder
from event_log.sql import load

IDLE_LIMIT = 5.0
"""Seconds after which the server ends a transaction whose client stands still."""

_PLACES: dict[str, tuple[Any, dict[str, str]]] = {
    "event_log/log.sql": (plain, {}),
    "event_log/recorder.sql": (plain, {}),
    "event_log/intake.sql": (plain, {}),
    "event_log/keyring.sql": (plain, {}),
    "event_log/notifications.sql": (plain, {}),
    "event_log/secret_store.sql": (plain, {"insert": "insert_secrets", "select": "select_secrets"}),
    "event_log/delivery_pauses.sql": (plain, {"put": "put_pause", "remove": "remove_pause"}),
    "event_log/due_queue.sql": (due, {}),
    "projections/tracking.sql": (plain, {}),
    "projections/recipients.sql": (plain, {"select": "select_recipients", "upsert": "upsert_recipients"}),
    "projections/quarantine.sql": (plain, {"insert": "set_aside"}),
}
NOT_MODELLED = frozenset(
    {
        "event_log/delivery_pauses.sql:standing",
        "event_log/keyring.sql:begin_proof",
        "projections/quarantine.sql:count",
        "projections/quarantine.sql:page",
        "projections/tracking.sql:positions",
        "projections/tracking.sql:try_to_lead",
    }
)
"""What only people look at, and leadership: the simulation lets two handlers run on purpose."""


def _missing(_: Tables, __: Parameters) -> list[tuple[Any, ...]] | int:
    raise NotImplementedError("this statement has no model yet")


def _modelled() -> Iterator[tuple[str, str, Statement]]:
    for place, (module, renamed) in _PLACES.items():
        package, file = place.split("/")
        for name, text in vars(load(package, file))["_statements"].items():
            if f"{place}:{name}" not in NOT_MODELLED:
                yield text, f"{place}:{name}", getattr(module, renamed.get(name, name), _missing)


BY_TEXT: dict[str, tuple[str, Statement]] = {text: (name, statement) for text, name, statement in _modelled()}


class Nature(Protocol):
    """What may happen to a process at its crossings into the database."""

    def reach(self, place: str, connection: ModelConnection) -> None:
        """May raise LogUnavailable or Killed, or let others go on first."""

    def committed(self, wakes: Sequence[str]) -> None:
        """A transaction that wakes readers is stored."""

    def hesitate(self, locked: Sequence[tuple[str, str]]) -> None:
        """May let others go on before something is cancelled; the users in the way are instance and id."""

    def overtake(self) -> None:
        """May let others go on before what was decided on a notification is stored."""


class Calm:
    """Nothing happens."""

    def reach(self, place: str, connection: ModelConnection) -> None:
        pass

    def committed(self, wakes: Sequence[str]) -> None:
        pass

    def hesitate(self, locked: Sequence[tuple[str, str]]) -> None:
        pass

    def overtake(self) -> None:
        pass


class ModelCursor:
    def __init__(self, connection: ModelConnection) -> None:
        self.connection = connection
        self.rowcount = -1
        self._rows: list[Any] = []

    def execute(
        self, text: str, parameters: Parameters | None = None, **_: bool
    ) -> ModelCursor:  # as psycopg's
        name, statement = BY_TEXT[text]
        connection = self.connection
        if not connection.in_transaction:
            connection.database.nature.reach("statement", connection)
        result = connection.database.tables_watched(name, statement, parameters or {})
        self._rows = result if isinstance(result, list) else []
        self.rowcount = result if isinstance(result, int) else len(result)
        return self

    def fetchall(self) -> list[Any]:
        return self._rows

    def fetchone(self) -> Any:  # noqa: ANN401  # a row
        return self._rows[0] if self._rows else None


class ModelConnection:
    def __init__(self, database: ModelDatabase) -> None:
        self.database = database
        self.in_transaction = False

    def cursor(self, *, binary: bool = False) -> ModelCursor:  # noqa: ARG002  # nothing is encoded here
        return ModelCursor(self)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        tables, nature = self.database.tables, self.database.nature
        assert not self.in_transaction, "nobody nests transactions"
        self.in_transaction = True
        tables.journal, tables.wakes = [], []
        try:
            yield
            nature.reach("before commit", self)
        except BaseException:
            tables.undo()
            raise
        else:
            tables.journal = None
        finally:
            self.in_transaction = False
            if tables.lock_holder is self:
                tables.lock_holder = None
        nature.committed(tables.wakes)
        nature.reach("after commit", self)

    def lock(self) -> None:
        """The append lock, until the transaction ends. Who holds it stands still: waiting is in vain."""
        tables = self.database.tables
        if tables.lock_holder is not None:
            raise LogUnavailable("canceling statement due to lock timeout")
        tables.lock_holder = self
        began = self.database.elapsed()
        self.database.nature.reach("locked", self)
        if self.database.elapsed() - began > IDLE_LIMIT:
            raise LogUnavailable("terminating connection due to idle-in-transaction timeout")

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """While others go on, what they do is none of this transaction's."""
        tables = self.database.tables
        kept = tables.journal, tables.wakes
        tables.journal, tables.wakes = None, []
        try:
            yield
        finally:
            tables.journal, tables.wakes = kept


class ModelDatabase:
    """One process's way to the tables."""

    def __init__(self, tables: Tables, nature: Nature, elapsed: Callable[[], float]) -> None:
        self.tables = tables
        self.nature = nature
        self.elapsed = elapsed
        self.watchers: dict[str, Callable[[Any], Callable[[Any], None]]] = {}

    def tables_watched(self, name: str, statement: Statement, parameters: Parameters) -> Any:  # noqa: ANN401
        watcher = self.watchers.get(name)
        if watcher is None:
            return statement(self.tables, parameters)
        look_again = watcher(parameters)
        result = statement(self.tables, parameters)
        look_again(result)
        return result

    @contextmanager
    def connection(self) -> Iterator[ModelConnection]:
        connection = ModelConnection(self)
        self.nature.reach("connect", connection)
        yield connection


class ModelRecorder(LogRecorder):
    def __init__(self) -> None:
        pass

    def lock(self, cursor: Any) -> None:  # noqa: ANN401  # a model's cursor
        cursor.connection.lock()

    @contextmanager
    def turn(self, connection: Any, wakes: Collection[str]) -> Iterator[None]:  # noqa: ANN401  # a model's
        with connection.transaction():
            self.lock(connection.cursor())
            yield
            connection.database.tables.wakes += sorted(wakes)


class _Key(DeploymentKey):
    """Derives each purpose once: thousands of processes share it."""

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self.derive = cache(super().derive)  # type: ignore[method-assign]


KEY = _Key(bytes(range(32)))
_MAPPER = LogMapper()


class ModelLog(Log):
    """The real log but for its database and recorder."""

    def __init__(self, database: ModelDatabase, chance: Callable[[int], bytes]) -> None:
        self.database = database  # type: ignore[assignment]  # stands in for it
        self.chance = chance
        self.keyring = Keyring(KEY, chance)
        self.secret_seal = Seal(KEY.derive("secrets"), chance)
        self.callback_seal = Seal(KEY.derive("callbacks"), chance)
        self.fingerprint_key = KEY.derive("fingerprints")
        self.recorder = ModelRecorder()
        self.mapper = _MAPPER
