"""Named places at which a test may kill, stop or fail a process; nothing happens there in normal use.

Only the composition root arms them. One is reached in order: ``name=action@n`` acts on the n-th hit alone.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import threading

import msgspec

_logger = logging.getLogger(__name__)

NAMES = frozenset(
    {
        # A caller's batch, in the transaction that stores it.
        "intake.locked",
        "intake.before_commit",
        "intake.after_commit",
        # The handler's batch.
        "handler.read",
        "handler.decided",
        "handler.before_commit",
        "handler.after_commit",
        # A trailing read model's batch.
        "projection.before_commit",
        "projection.after_commit",
        # A worker's batch from claim to the first intent, then one delivery.
        "worker.claimed",
        "worker.loaded",
        "worker.prepared",
        "worker.started",
        "worker.sending",
        "worker.transmitting",
        "worker.answered",
        # Whatever a worker writes: the first intent, the second, the outcome.
        "record.before_append",
        "record.before_commit",
        "record.after_commit",
        # One mail.
        "smtp.connected",
        "smtp.mail",
        "smtp.rcpt",
        "smtp.data",
        "smtp.half_body",
        "smtp.dot_written",
        "smtp.reply_read",
        # One request to Twilio.
        "twilio.connected",
        "twilio.answered",
        # One report of a give-up to the operator.
        "hook.calling",
        "hook.answered",
        "hook.recorded",
    }
)

_WISH = re.compile(
    r"(?P<name>[a-z_.]+)=(?P<action>kill|stop|raise|sleep:(?P<seconds>\d+(\.\d+)?))(@(?P<hit>[1-9]\d*))?"
)


class FailpointReached(Exception):
    """What ``raise`` raises: no error anybody expects."""


class _Armed(msgspec.Struct):
    action: str
    seconds: float
    hits_left: int


_armed: dict[str, _Armed] = {}


def failpoint(name: str) -> None:
    """Nothing, unless somebody armed this name."""
    if _armed:
        _reach(name)


def arm(wishes: str) -> None:
    """``worker.transmitting=kill@3;handler.read=sleep:0.5``; replaces what was armed.

    Actions: kill (SIGKILL), stop (SIGSTOP), raise, sleep:SECONDS. Raises ValueError with a sentence.
    """
    armed = dict(_read(wish.strip()) for wish in wishes.split(";") if wish.strip())
    _armed.clear()
    _armed.update(armed)


def _read(wish: str) -> tuple[str, _Armed]:
    parts = _WISH.fullmatch(wish)
    if parts is None:
        raise ValueError(f"{wish!r} is not of the form name=kill|stop|raise|sleep:SECONDS[@HIT]")
    if parts["name"] not in NAMES:
        raise ValueError(f"there is no failpoint {parts['name']}; choose from {', '.join(sorted(NAMES))}")
    action = parts["action"].partition(":")[0]
    return parts["name"], _Armed(action, float(parts["seconds"] or 0), int(parts["hit"] or 1))


def _reach(name: str) -> None:
    armed = _armed.get(name)
    if armed is None:
        return
    armed.hits_left -= 1
    if armed.hits_left == 0:
        _logger.warning("failpoint %s: %s", name, armed.action)
        _act(armed, name)


def _act(armed: _Armed, name: str) -> None:
    match armed.action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            # To this very thread: of a signal to the process another one takes notice, and this one goes on
            # until that one has its turn.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        case "sleep":
            threading.Event().wait(armed.seconds)
        case _:
            raise FailpointReached(name)
