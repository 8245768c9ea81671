"""Moves on a due queue, the same on PostgreSQL and on its model, and what can be seen after each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any
from uuid import UUID

from event_log import due_queue
from event_log.due_queue import BOTH, CODES, EVERYTHING, NOBODYS_TURN, DueRow, Overtaken, Place, Turn, Wanted
from event_log.recorder import LogEntry, columns_of
from event_log.sql import load

BASE = datetime(2029, 1, 1, tzinfo=UTC)
PARKED_FROM = datetime(9999, 1, 1, tzinfo=UTC)
"""The statements take this for never."""
LEASE, SHORT, LOST = timedelta(minutes=10), timedelta(minutes=2), timedelta(seconds=-5)
CHANNELS = ("email", "sms")
MOVES = (0, 1, 2)
"""Seeds of the random moves in the contract suite."""
_pauses = load("event_log", "delivery_pauses.sql")
_ROWS = """
SELECT notification_id, due_at, not_before, expires_at, retry, claims,
       lease_token IS NOT NULL, coalesce(lease_until > clock_timestamp(), false),
       coalesce(lease_until > clock_timestamp() + interval '5 min', false)
  FROM due_notifications
"""

_ENDS = "SELECT notification_id, lease_until FROM due_notifications"


def at(minutes: float) -> datetime:
    return BASE + timedelta(minutes=minutes)


def row(number: int, minutes: float = 0.0, **changes: Any) -> DueRow:  # noqa: ANN401  # fields
    fields: dict[str, Any] = {
        "notification": UUID(int=number),
        "instance": "acme",
        "channel": "email",
        "priority": 0,
        "not_before": at(minutes),
        "expires_at": at(1000),
        "cause_stream": UUID(int=1),
        "cause_version": 1,
        "supersede_key": "rule",
    }
    return DueRow(**(fields | changes))


class Queue:
    """The due queue of one place, and the tokens it has given."""

    def __init__(self, log: Any, *, modelled: bool) -> None:  # noqa: ANN401  # a real log, or a model's
        self.log = log
        self._modelled = modelled
        self.tokens: dict[UUID, int] = {}
        self.places: list[Place] = []
        """Of the last look."""
        self.taken: list[tuple[UUID, int, datetime]] = []
        """By the last claim, from which place, due since when."""
        self._unused = count(1_000_000, 1_000)

    def put(self, *rows: DueRow) -> None:
        with self.log.appending() as append:
            due_queue.put(append.cursor, rows)

    def remove(self, *numbers: int) -> None:
        with self.log.appending() as append:
            due_queue.remove(append.cursor, [UUID(int=number) for number in numbers])

    def pull_forward(self, *overtaken: Overtaken) -> None:
        with self.log.appending() as append:
            due_queue.pull_forward(append.cursor, overtaken)

    def claim(self, minutes: float = 0.0, **given: Any) -> list[tuple[int, int]]:  # noqa: ANN401  # as the real one's
        """Numbers of what was claimed and the claims they had lost, sorted.

        From the places of the last look when they are ``known``.
        """
        asked: dict[str, Any] = {"limit": 100, "lease": LEASE, "channels": CHANNELS} | given
        turn, in_order = asked.pop("turn", NOBODYS_TURN), asked.pop("in_order", False)
        known = asked.pop("known", False)
        wanted = Wanted(now=at(minutes), token=next(self._unused), **asked)
        with self.log.database.connection() as connection:
            cursor = connection.cursor()
            if in_order:
                claims = due_queue.claim_in_order(cursor, wanted, turn)
            else:
                if not known:
                    self.places = due_queue.in_turn(_anyhow(due_queue.waiting(cursor, wanted)), turn)
                claims = due_queue.claim(cursor, wanted, self.places) if self.places else []
        self.tokens |= {claim.notification: claim.token for claim in claims}
        self.taken = sorted((claim.notification, claim.place, claim.due_at) for claim in claims)
        return sorted((claim.notification.int, claim.lost_claims) for claim in claims)

    def shown(self, *numbers: int, wrong: int = 0) -> list[tuple[UUID, int]]:
        """Leases as a worker shows them; with ``wrong`` another's token."""
        return [(UUID(int=n), self.tokens.get(UUID(int=n), -1) + wrong) for n in numbers]

    def held(self, *numbers: int, wrong: int = 0) -> dict[int, bool]:
        with self.log.database.connection() as connection:
            found = due_queue.held(connection.cursor(), self.shown(*numbers, wrong=wrong))
        return {notification.int: standing.runs for (notification, _), standing in found.items()}

    def versions_of_causes(self, *numbers: int) -> dict[int, int]:
        """Asked for the odd numbers."""
        with self.log.database.connection() as connection:
            asked = [number % 2 == 1 for number in numbers]
            found = due_queue.held(connection.cursor(), self.shown(*numbers), asked)
        return {notification.int: standing.cause_version for (notification, _), standing in found.items()}

    def standings(self, *numbers: int) -> list[tuple[int, bool, int, int, timedelta]]:
        """Number, whether the lease runs, versions of its stream and its cause's, the margin at its end."""
        with self.log.database.connection() as connection:
            shown = self.shown(*numbers)
            found = due_queue.held(connection.cursor(), shown, [True] * len(shown))
            ends = self._ends(connection)
        return sorted(
            (n.int, s.runs, s.version, s.cause_version, ends[n] - s.until) for (n, _), s in found.items()
        )

    def _ends(self, connection: Any) -> dict[UUID, datetime]:  # noqa: ANN401  # a real one, or a model's
        if self._modelled:
            return {n: row.lease_until for n, row in self.log.database.tables.due.items()}
        return dict(connection.execute(_ENDS).fetchall())

    def renew(self, *numbers: int, lease: timedelta = LEASE, wrong: int = 0) -> list[int]:
        with self.log.database.connection() as connection:
            found = due_queue.renew(connection.cursor(), self.shown(*numbers, wrong=wrong), lease)
        return sorted(notification.int for notification in found)

    def release(self, *numbers: int, wrong: int = 0, rest: timedelta | None = None) -> None:
        with self.log.database.connection() as connection:
            due_queue.release(connection.cursor(), self.shown(*numbers, wrong=wrong), rest)

    def pause(self, instance: str, channel: str, *, resume: bool = False) -> None:
        statement = _pauses.remove if resume else _pauses.put
        with self.log.database.connection() as connection:
            connection.cursor().execute(statement, {"instance": instance, "channel": channel, "position": 1})

    def figures(self, minutes: float) -> tuple[Any, ...]:
        with self.log.database.connection() as connection:
            cursor = connection.cursor()
            wanted = Wanted(now=at(minutes), limit=1, lease=LEASE, token=0, channels=CHANNELS)
            waiting = due_queue.in_turn(_anyhow(due_queue.waiting(cursor, wanted)), NOBODYS_TURN)
            return due_queue.next_due(cursor), due_queue.depth(cursor, at(minutes)), waiting

    def next_due(self, otherwise: float) -> float:
        """In minutes, the very moment."""
        with self.log.database.connection() as connection:
            moment = due_queue.next_due(connection.cursor())
        return otherwise if moment in (None, due_queue.NEVER) else (moment - BASE) / timedelta(minutes=1)

    def rows(self) -> list[tuple[Any, ...]]:
        """What is in the table, but for tokens and moments that differ between clocks."""
        if not self._modelled:
            with self.log.database.connection() as connection:
                return sorted(connection.execute(_ROWS).fetchall())
        now = self.log.database.tables.now()
        return sorted(
            (
                r.notification_id,
                r.due_at,
                r.not_before,
                r.expires_at,
                r.retry,
                r.claims,
                r.lease_token is not None,
                r.lease_until is not None and r.lease_until > now,
                r.lease_until is not None and r.lease_until > now + timedelta(minutes=5),
            )
            for r in self.log.database.tables.due.values()
        )

    def decide(self, *numbers: int) -> None:
        """The first event of these notifications, in this order."""
        self.write(*((number, 1) for number in numbers))

    def write(self, *events: tuple[int, int]) -> None:
        """Into streams by their number, each with its version."""
        with self.log.appending() as append:
            entries = [
                LogEntry(UUID(int=n), version, "notification.requested", b"\x01\x01{}", instance_id="acme")
                for n, version in events
            ]
            self.log.recorder.insert(append.cursor, columns_of(entries))


def _anyhow(places: list[Place]) -> list[Place]:
    """A look finds places in no order: here in another than either of the queues gives."""
    return places[::-1]


def random_row(random: Random, number: int, *, crowd: bool) -> DueRow:
    # Seconds apart, so that nothing is due at the same moment: SQL leaves open which goes first then.
    minutes = random.randrange(0, 12) + number / 64
    if crowd:
        return row(number, minutes)
    return row(
        number,
        minutes,
        instance=random.choice(("acme", "acme", "beta", "beta", "gamma")),
        channel=random.choice((*CHANNELS, "push")),
        priority=random.choice((0, 0, 0, 1, 2)),
        expires_at=at(minutes + random.choice((3, 500)) + number / 64),
        not_before=random.choice((at(minutes), at(minutes), at(minutes), due_queue.NEVER, PARKED_FROM)),
        cause_stream=UUID(int=random.randrange(1, 4)),
        cause_version=random.randrange(1, 4),
        supersede_key=random.choice(("a", "b")),
        retry=random.random() < 0.3,
    )


def move(queue: Queue, draw: int) -> Any:  # noqa: ANN401, PLR0911  # whatever the move gives
    """One random move; the same draw is the same move."""
    random = Random(draw)
    numbers = random.sample(range(1, 16), 3)
    minutes = random.randrange(0, 14) + random.choice((0, 1, 2)) * numbers[0] / 64
    wrong = random.choice((0, 0, 0, 10_000))
    match random.randrange(12):
        case 0 | 1 | 2:
            crowd = random.random() < 0.25  # more of one kind than one claim takes
            return queue.put(*(random_row(random, number, crowd=crowd) for number in numbers))
        case 3:
            return queue.remove(*numbers[:1])
        case 4:
            key = random.choice(("", "a", "b"))
            return queue.pull_forward(Overtaken(UUID(int=random.randrange(1, 4)), 2, key, at(minutes)))
        case 5 | 6 | 7:
            return queue.claim(
                queue.next_due(minutes) if random.random() < 0.3 else minutes,
                limit=random.choice((1, 2, 5)),
                lease=random.choice((LEASE, SHORT, LOST, LOST)),
                channels=random.choice((CHANNELS, ("email",), ())),
                turn=Turn(
                    random.choice(((), ("beta",), ("gamma", "acme"))), random.choice(("", "acme", "beta"))
                ),
                retries=random.choice((BOTH, (True,), (False,))),
                known=random.random() < 0.3,
                priorities=random.choice((EVERYTHING, EVERYTHING, CODES)),
                left_alone=[UUID(int=number) for number in numbers[: random.choice((0, 0, 1))]],
            )
        case 8:
            held = queue.held(*numbers, wrong=wrong), queue.versions_of_causes(*numbers)
            return *held, queue.renew(*numbers, lease=LEASE, wrong=wrong)
        case 9:
            return queue.release(*numbers, wrong=wrong, rest=random.choice((None, None, LEASE, LOST)))
        case 10:
            return queue.pause(
                random.choice(("", "acme")), random.choice(("", "sms")), resume=random.random() < 0.7
            )
        case _:
            return queue.figures(minutes)


def move_in_order(queue: Queue, draw: int) -> Any:  # noqa: ANN401  # whatever the move gives
    """A random move among rows that have their place in the log, of which one at most has expired."""
    random = Random(draw)
    numbers = random.sample(range(1, 15), 2)
    instances = {n: random.choice(("acme", "beta")) for n in numbers}
    queue.put(
        *(
            row(n, float(n // 3), expires_at=at(5000), instance=i, retry=random.random() < 0.3)
            for n, i in instances.items()
        )
    )
    match random.randrange(6):
        case 0:
            never = random.choice((due_queue.NEVER, PARKED_FROM))
            parked = {"not_before": never} if random.random() < 0.5 else {}
            channel, instance = random.choice(("push", "sms")), random.choice(("acme", "beta"))
            queue.put(row(15, 1, channel=channel, instance=instance, expires_at=at(30), **parked))
        case 1:
            queue.remove(*numbers[:1])
        case 2:
            queue.pause(random.choice(("", "acme")), "sms", resume=random.random() < 0.7)
        case 3:
            queue.release(*random.sample(range(1, 15), 4))
        case _:
            pass
    return queue.claim(
        float(random.randrange(0, 60)),
        limit=random.choice((1, 2, 5)),
        lease=random.choice((LEASE, SHORT, LOST)),
        channels=random.choice((CHANNELS, ("sms",), ("email",))),
        retries=random.choice((BOTH, (False,))),
        turn=Turn(random.choice(((), ("beta",), ("beta", "acme"))), random.choice(("", "acme"))),
        left_alone=[UUID(int=n) for n in random.choice(((), (), (*numbers, 15)))],
        in_order=True,
    )


def opening(queue: Queue) -> Iterator[Any]:
    """What chance makes too rarely: those in front have nothing to claim, and take nobody's turn."""
    queue.put(row(1, retry=True), row(2, 9, expires_at=at(1)), row(3, instance="beta"))
    yield queue.claim(2, limit=1, retries=(False,))
    queue.put(row(4, instance="beta"))
    yield queue.claim(2, limit=1), queue.claim(2, limit=1)
    queue.put(*(row(n, channel="push", instance=f"of {n}", expires_at=at(1)) for n in (5, 6)))
    yield queue.claim(2, limit=1), queue.claim(2, limit=1)
    queue.remove(*range(1, 7))
    for given in ({}, {"channel": "push", "expires_at": at(1)}):
        queue.put(row(1, **given), row(2, 0.1, **given), row(3, instance="beta", **given))
        for names in ((1, 2), (1,)):
            yield queue.claim(2, limit=1, left_alone=[UUID(int=number) for number in names])
        queue.remove(1, 2, 3)
        queue.put(row(1, **given), row(2, 0.1, **given))
        yield queue.claim(2, limit=1, lease=LOST), queue.claim(2, known=True, left_alone=[UUID(int=1)])
        queue.remove(1, 2)
    for priority in (0, 2):
        queue.put(row(5 + priority, channel="push", priority=priority, expires_at=at(1 + priority / 9)))
    yield queue.claim(2), queue.claim(2)
    queue.remove(5, 7)
    yield from _shared_and_lost(queue)
    yield from _leased(queue)


def _leased(queue: Queue) -> Iterator[Any]:
    """A lease that is nearly over and one that is not, and streams that have come further than others."""
    cause = 101
    queue.write((21, 1), (22, 1), (22, 2), *((cause, version) for version in range(1, 6)))
    queue.put(*(row(n, cause_stream=UUID(int=cause)) for n in (21, 22)))
    for lease in (timedelta(seconds=1), LEASE):
        yield queue.claim(2, limit=1, lease=lease)
    yield queue.standings(21, 22)
    queue.remove(21, 22)


def _shared_and_lost(queue: Queue) -> Iterator[Any]:
    """Each place its share of a claim, and two that may kill their worker, each taken alone."""
    unserved = [{"channel": "push", "expires_at": at(1 + n / 64)} for n in range(3)]
    for given in ([{}, {}, {}], unserved):
        queue.put(*(row(n, n / 64, instance=i, **given[n]) for n, i in enumerate(("acme", "acme", "beta"))))
        yield queue.claim(2, limit=2), queue.claim(2, limit=2)
        queue.remove(0, 1, 2)
        queue.put(row(2, 0.1, **given[2]), row(1, **given[1]))
        for _ in range(4):
            yield queue.claim(2, lease=LOST), queue.rows()
        queue.remove(1, 2)


def all_moves(queue: Queue, seed: int) -> Iterator[Any]:
    """What can be seen of a queue after each of many moves."""
    for seen in opening(queue):
        yield seen, queue.places, queue.taken
    for draw in range(seed * 10_000, seed * 10_000 + 400):
        yield move(queue, draw), queue.rows(), queue.places, queue.taken


def _lost_and_expired(queue: Queue) -> Iterator[Any]:
    """What may kill its worker is ended alone, when nothing else is left to do."""
    queue.put(*(row(n, channel="push", instance=i, expires_at=at(1)) for n, i in ((1, "acme"), (2, "beta"))))
    for _ in range(5):
        yield queue.claim(2, lease=LOST, in_order=True), queue.rows()
    queue.put(row(3, instance="beta"))
    for alone in ((), (1,), (3,), (1, 3)):
        yield queue.claim(2, lease=LOST, left_alone=[UUID(int=n) for n in alone], in_order=True)
    queue.remove(1, 2, 3)


def _beside_each_other(queue: Queue) -> Iterator[Any]:
    """A head that lost two claims and one that lost none; two that expired; a pause of one instance alone."""
    queue.put(row(1))
    yield queue.claim(2, lease=LOST, in_order=True), queue.claim(2, lease=LOST, in_order=True)
    queue.put(row(2, 1, instance="beta"), row(7, channel="push", instance="beta", expires_at=at(1)))
    yield queue.claim(2, in_order=True), queue.rows()
    queue.remove(1, 2, 7)
    queue.put(*(row(n, channel="push", expires_at=at(1)) for n in (3, 4)))
    yield [len(queue.claim(2, in_order=True)) for _ in range(3)]  # which goes first is left open
    queue.remove(3, 4)
    queue.put(*(row(n, channel="push", instance=i, expires_at=at(1)) for n, i in ((3, "acme"), (4, "beta"))))
    yield [len(queue.claim(2, limit=1, in_order=True)) for _ in range(2)]
    queue.remove(3, 4)
    queue.pause("acme", "sms")
    queue.put(*(row(n, channel="sms", instance=i, expires_at=at(1)) for n, i in ((5, "acme"), (6, "beta"))))
    yield queue.claim(2, in_order=True), queue.rows()
    queue.pause("acme", "sms", resume=True)
    queue.remove(5, 6)
    queue.put(row(9, channel="push", expires_at=at(2)))
    for lease in (LOST, LOST, LEASE, LEASE):
        yield queue.claim(2, lease=lease, in_order=True)
    queue.release(9)
    yield queue.claim(2, in_order=True), queue.rows()
    queue.remove(9)


def _deadly(queue: Queue) -> Iterator[Any]:
    """What may kill its worker is passed over while anything else is left, while it is leased, or served."""
    queue.put(*(row(n, channel="push", cause_stream=UUID(int=n), expires_at=at(1)) for n in (1, 2)))
    for number in (1, 2, 1, 2):
        yield queue.claim(2, lease=LOST, left_alone=[UUID(int=number)], in_order=True), queue.rows()
    queue.put(row(4, channel="push", expires_at=at(1)))
    yield queue.claim(2, lease=LOST, in_order=True)
    queue.remove(4)
    yield queue.claim(2, left_alone=[UUID(int=2)], in_order=True)
    queue.pull_forward(Overtaken(UUID(int=2), 2, "", at(-1)))
    yield queue.claim(2, in_order=True)
    queue.remove(1, 2)
    queue.put(row(1, 5, expires_at=at(1)))
    for _ in range(3):
        yield queue.claim(6, lease=LOST, in_order=True)
    queue.put(row(2))
    yield queue.claim(6, in_order=True), queue.claim(6, in_order=True)
    queue.remove(1, 2)


def all_moves_in_order(queue: Queue, seed: int) -> Iterator[Any]:
    queue.decide(*reversed(range(1, 16)))
    yield from _lost_and_expired(queue)
    yield from _deadly(queue)
    yield from _beside_each_other(queue)
    for draw in range(seed * 10_000, seed * 10_000 + 300):
        yield move_in_order(queue, draw), queue.rows()
