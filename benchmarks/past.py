"""A past for projections to read, made by the parts that make it in earnest, without a provider.

People are added and ask for codes, the handler decides, and attempts are recorded as sent but for one in ten,
which stays under way; the handler and the history follow to the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from benchmarks.feeding import person, tell, trigger
from event_log import due_queue
from event_log.due_queue import Wanted, new_token
from event_log.log import Log
from notification_domain.backoff import RetryPolicy
from notification_domain.notification import Command, RecordOutcome, StartAttempt, StartTransmission
from notification_domain.outcomes import Delivered
from notification_domain.policies import Deployment
from projections.following import trailing_round
from projections.handler import handle_batch
from projections.history import History
from tidings.composition import clock
from workers.loading import load
from workers.recording import Advanced, Step, Subject, advance

BATCH = 500
INSTANCE = "bench"
LEASE = timedelta(hours=1)
POLICY = RetryPolicy()


def make_past(log: Log, notifications: int) -> None:
    for first in range(0, notifications, BATCH):
        numbers = range(first, min(first + BATCH, notifications))
        tell(log, INSTANCE, [event for number in numbers for event in (person(number), trigger(number))])
    _decide(log)
    while held := _claim(log):
        _deliver(log, held)
    _decide(log)
    while trailing_round(log, History(), batch=10 * BATCH):
        pass


def _decide(log: Log) -> None:
    while handle_batch(log, clock, Deployment(), batch=BATCH):
        pass


def _claim(log: Log) -> list[Subject]:
    with log.database.connection() as connection:
        cursor = connection.cursor()
        wanted = Wanted(
            now=clock(), limit=BATCH, lease=LEASE, token=new_token(log.chance), channels=("email", "sms")
        )
        claims = due_queue.claim(cursor, wanted, due_queue.waiting(cursor, wanted))
    return [loaded.subject for loaded in load(log, claims)]


def _deliver(log: Log, held: Sequence[Subject]) -> None:
    now = clock()
    started = _step(log, [(one, StartAttempt(now, one.held.token, "bench")) for one in held])
    handed_over = _step(log, [(one, StartTransmission(now)) for one in started[len(held) // 10 :]])
    _step(log, [(one, _delivered(one)) for one in handed_over])


def _delivered(one: Subject) -> RecordOutcome:
    outcome = Delivered(f"{one.held.notification}@bench", "250 ok")
    return RecordOutcome(at=clock(), outcome=outcome, policy=POLICY, jitter=0.5, recipient=one.user)


def _step(log: Log, commands: Sequence[tuple[Subject, Command]]) -> list[Subject]:
    answers = advance(log, [Step(subject, command) for subject, command in commands], clock)
    return [
        Subject(answer.held, subject.user, subject.user_version)
        for answer, (subject, _) in zip(answers, commands, strict=True)
        if isinstance(answer, Advanced)
    ]
