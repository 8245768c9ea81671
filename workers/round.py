"""The round of one pool: where something waits, as it was last seen, and whose turn it is to be claimed from.

Only the due queue decides what is due. Looking round all of it costs more the more instances have something
open, and the more removed rows an old snapshot keeps in the index; so claims go on from where the last one
ended, and a look that is not short takes but a twentieth of the time as long as somebody is known to wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from event_log import due_queue
from event_log.database import LogCursor
from event_log.due_queue import Claim, Place, Wanted
from workers.active_instances import ActiveInstances

TAKEN_ALONE = 2
"""Lost claims, as the statement has them, after which a row is claimed by itself."""
_SHORT = timedelta(milliseconds=1)
"""A look that takes no longer may come before each claim."""
_REST = 20
"""Times what a look takes beyond that, until the next one."""
_LOOKS = 5
"""So many of the last are compared: on a busy machine only the shortest tells what a look costs."""


class Round:
    """One thread uses it at a time; ``active`` is shared by all pools.

    ``in_order`` is legacy mode: nothing is remembered, each claim looks round the whole queue.
    """

    def __init__(
        self, active: ActiveInstances, clock: Callable[[], datetime], *, in_order: bool = False
    ) -> None:
        self._active = active
        self._clock = clock
        self._in_order = in_order
        self._places: list[Place] = []
        self._next_look = datetime.min.replace(tzinfo=UTC)
        self._took: deque[timedelta] = deque(maxlen=_LOOKS)
        self._wide = 0
        """So many places are asked at once."""
        self.may_have_more = True
        """Whether the last claims may have left something that was due; what may kill its worker apart."""

    def take(self, cursor: LogCursor, wanted: Wanted) -> list[Claim]:
        """Claims for whoever's turn it is; none only when a look has just found nothing."""
        claims = (self._take_in_order if self._in_order else self._take)(cursor, wanted)
        self._active.note(claim.instance for claim in claims)
        return claims

    def _take_in_order(self, cursor: LogCursor, wanted: Wanted) -> list[Claim]:
        turn = self._active.turn(lambda: _longest_first(due_queue.waiting(cursor, wanted)))
        claims = due_queue.claim_in_order(cursor, wanted, turn)
        self.may_have_more = bool(claims)
        return claims

    def _take(self, cursor: LogCursor, wanted: Wanted) -> list[Claim]:
        claims = self._claim(cursor, wanted) if self._clock() < self._next_look else []
        self.may_have_more = True
        if not claims:
            self._look(cursor, wanted)
            claims = self._claim(cursor, wanted)
            self.may_have_more = bool(claims) and (bool(self._places) or _took_one_alone(claims))
        return claims

    def _look(self, cursor: LogCursor, wanted: Wanted) -> None:
        began = self._clock()
        places = due_queue.waiting(cursor, wanted)
        ended = self._clock()
        self._took.append(ended - began)
        self._next_look = ended + max(min(self._took) - _SHORT, timedelta()) * _REST
        self._places = due_queue.in_turn(places, self._active.turn(lambda: _longest_first(places)))
        self._wide = wanted.limit

    def _claim(self, cursor: LogCursor, wanted: Wanted) -> list[Claim]:
        asked, others = self._places[: self._wide], self._places[self._wide :]
        if not asked:
            return []
        claims = due_queue.claim(cursor, wanted, asked)
        untouched, served = after(asked, claims, wanted.limit)
        self._wide = 2 * (len(asked) - len(untouched)) if untouched else wanted.limit
        # Sorting is stable: whoever was served goes behind the others of its priority.
        self._places = sorted([*untouched, *others, *served], key=lambda place: place.priority)
        return claims


def _took_one_alone(claims: Sequence[Claim]) -> bool:
    return claims[0].lost_claims >= TAKEN_ALONE


def after(asked: Sequence[Place], claims: Sequence[Claim], limit: int) -> tuple[list[Place], list[Place]]:
    """Who did not have a turn, and who may have more, each since where it was left."""
    given: dict[int, list[datetime]] = {}
    for claim in claims:
        given.setdefault(claim.place, []).append(claim.due_at)
    last = max(given) if len(claims) == limit else len(asked)
    shares = due_queue.shares(asked, limit)
    served = [
        replace(asked[number], since=max(moments))
        for number, moments in sorted(given.items())
        if number == last or len(moments) >= shares[number]
    ]
    return list(asked[last + 1 :]), served


def _longest_first(places: Sequence[Place]) -> list[str]:
    by_time = sorted(places, key=lambda place: (place.since, place.instance))
    return list(dict.fromkeys(place.instance for place in by_time))
