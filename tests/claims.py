"""One claim by itself, as a worker makes that has just started."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from event_log import due_queue
from event_log.database import LogCursor
from event_log.due_queue import NOBODYS_TURN, Claim, Turn, Wanted, new_token


def claim(
    cursor: LogCursor,
    now: datetime,
    *,
    limit: int = 100,
    lease: timedelta = timedelta(minutes=1),
    channels: Sequence[str] = ("email", "sms"),
    turn: Turn = NOBODYS_TURN,
    **wanted: Any,
) -> list[Claim]:
    """What is found by a look round the queue."""
    asked = Wanted(
        now=now, limit=limit, lease=lease, channels=channels, token=new_token(os.urandom), **wanted
    )
    places = due_queue.in_turn(due_queue.waiting(cursor, asked), turn)
    return due_queue.claim(cursor, asked, places) if places else []


def claim_in_order(cursor: LogCursor, now: datetime) -> list[Claim]:
    """What legacy mode takes."""
    asked = Wanted(
        now=now,
        limit=100,
        lease=timedelta(minutes=1),
        channels=("email", "sms"),
        token=new_token(os.urandom),
    )
    return due_queue.claim_in_order(cursor, asked)
