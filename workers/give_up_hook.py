"""Tells the operator of every give-up: a signed call each, in the order of the log, until it is answered.

The place moves only after a 2xx, so nothing is lost between an event and its call. A call may come twice;
then it carries the same id.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, wait
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from time import monotonic
from typing import Any
from urllib.parse import quote

import msgspec

from event_log.failpoints import failpoint
from event_log.log import Log
from projections import give_ups
from projections.following import POLL_SECONDS, Follower
from projections.give_ups import Ahead, Report
from workers.signed_webhook import Receiver, Refusal

_logger = logging.getLogger(__name__)

_ROUND_SECONDS = 0.5
"""The longest one round takes, so that leadership is confirmed while a receiver thinks."""
UNREADABLE = "unreadable"


class Pauses(msgspec.Struct, frozen=True):
    """Seconds between calls that fail; a receiver may ask for more."""

    first: float = 1.0
    longest: float = 60.0
    longest_asked: float = 3600.0


class _Call(msgspec.Struct, frozen=True):
    ahead: Ahead
    answer: Future[Refusal | None]


class GiveUpHook:
    """One call at a time; later reports wait behind one that is not taken, however long that lasts."""

    def __init__(
        self,
        log: Log,
        receiver: Receiver,
        clock: Callable[[], datetime],
        loop: asyncio.AbstractEventLoop,
        pauses: Pauses,
    ) -> None:
        self._log = log
        self._receiver = receiver
        self._clock = clock
        self._loop = loop
        self._pauses = pauses
        self._pause = pauses.first
        self._not_before = 0.0
        self._call: _Call | None = None

    def take_round(self) -> int:
        """A step of a Follower; 0 when there is nothing to do for a while."""
        if self._call is None:
            return self._begin() if monotonic() >= self._not_before else 0
        call = self._call
        wait([call.answer], timeout=_ROUND_SECONDS)
        if call.answer.done():
            self._call = None
            self._conclude(call.ahead, call.answer.result())
        return 1

    def drop(self) -> None:
        """The call under way, unanswered: whoever leads next makes it again."""
        if self._call is not None:
            self._call.answer.cancel()

    def _begin(self) -> int:
        ahead = give_ups.ahead(self._log)
        if ahead.report is None:
            if ahead.to > ahead.since:
                give_ups.pass_over(self._log, ahead)
            return ahead.to - ahead.since
        failpoint("hook.calling")
        posting = self._receiver.post(message_id(ahead.report), cloud_event(ahead.report))
        self._call = _Call(ahead, asyncio.run_coroutine_threadsafe(posting, self._loop))
        return 1

    def _conclude(self, ahead: Ahead, refusal: Refusal | None) -> None:
        if refusal is not None:
            self._back_off(ahead, refusal)
            return
        failpoint("hook.answered")
        give_ups.told(self._log, ahead)
        failpoint("hook.recorded")
        self._pause = self._pauses.first

    def _back_off(self, ahead: Ahead, refusal: Refusal) -> None:
        pause = max(self._pause, min(refusal.retry_after, self._pauses.longest_asked))
        self._not_before = monotonic() + pause
        self._pause = min(self._pause * 2, self._pauses.longest)
        _logger.warning("a give-up was not taken: %s; trying again in %.1f s", refusal.error, pause)
        give_ups.failed(self._log, ahead, self._clock())


@asynccontextmanager
async def reporting(
    log: Log,
    receiver: Receiver,
    clock: Callable[[], datetime],
    *,
    pauses: Pauses = Pauses(),  # noqa: B008  # frozen
    poll: float = POLL_SECONDS,
) -> AsyncIterator[None]:
    """Reports meanwhile, in this process or in another one that does the same: one of them leads."""
    hook = GiveUpHook(log, receiver, clock, asyncio.get_running_loop(), pauses)
    follower = Follower(log.database, give_ups.NAME, hook.take_round, poll=poll)
    stopped = threading.Event()
    thread = threading.Thread(target=follower.run, args=(stopped,), name=give_ups.NAME)
    await asyncio.to_thread(give_ups.begin, log)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        follower.wake()
        await asyncio.to_thread(thread.join)
        hook.drop()
        await receiver.close()


# --- the report -----------------------------------------------------------------------------------


def message_id(report: Report) -> str:
    """The same in every call for the same event."""
    return f"{report.notification}-{report.version}"


def cloud_event(report: Report) -> bytes:
    """A CloudEvent (1.0, structured JSON) of what an operator needs to look further, and nobody's name."""
    kind = report.what.kind if report.what else UNREADABLE
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": message_id(report),
            "source": f"/instances/{quote(report.instance, safe='')}",
            "type": f"tidings.notification.{kind}",
            "subject": f"notification/{report.notification}",
            "time": report.recorded_at.astimezone(UTC),
            "datacontenttype": "application/json",
            "data": _data(report),
        }
    )


def _data(report: Report) -> dict[str, Any]:
    what, request = report.what, report.request
    return {
        "notification_id": report.notification,
        "instance_id": report.instance,
        "message_type": request.message_type if request else "",
        "channel": request.channel if request else "",
        "reason": what.reason if what else UNREADABLE,
        "stage": what.stage if what else "",
        "attempts": report.attempts,
        "position": str(report.position),
        "requested_at": report.requested_at.astimezone(UTC),
    }
