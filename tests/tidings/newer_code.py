"""A copy of the tree that knows more than this one: a new event, or a new body of an old one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from tests.tidings.worker_processes import ROOT

_PACKAGES = ("notification_domain", "event_log", "projections", "workers", "api", "tidings", "migrations")

Patch: TypeAlias = tuple[str, str, str]
"""A file, what stands in it exactly once, and what takes its place."""

NEW_EVENT: Sequence[Patch] = (
    (
        "notification_domain/notification_events.py",
        "class TransmissionStarted(",
        "class AttemptNoted(msgspec.Struct, frozen=True):\n    attempt: int\n\n\nclass TransmissionStarted(",
    ),
    (
        "notification_domain/notification_events.py",
        "    | FeedbackReceived\n)",
        "    | FeedbackReceived\n    | AttemptNoted\n)",
    ),
    (
        "event_log/topics.py",
        '    Topic("tidings.delivery.paused"',
        '    Topic("notification.attempt.noted", events.AttemptNoted),\n    Topic("tidings.delivery.paused"',
    ),
    (
        "notification_domain/notification.py",
        "    AttemptStarted,\n    Event,",
        "    AttemptNoted,\n    AttemptStarted,\n    Event,",
    ),
    (
        "notification_domain/notification.py",
        "    return (AttemptStarted(progress.attempt + 1,",
        "    return (AttemptNoted(progress.attempt + 1), AttemptStarted(progress.attempt + 1,",
    ),
    (
        "notification_domain/notification.py",
        "        case NotificationRequested() | NotificationDeclined():\n",
        "        case NotificationRequested() | NotificationDeclined() | AttemptNoted():\n",
    ),
)
"""Every attempt is noted before it begins."""

NEW_BODY: Sequence[Patch] = (
    (
        "event_log/topics.py",
        'Topic("notification.attempt.started", events.AttemptStarted)',
        'Topic("notification.attempt.started", events.AttemptStarted, 2, upcasters=(_as_it_was,))',
    ),
)
"""Every attempt begins with an event in a schema of its own."""


def newer_tree(directory: Path, patches: Sequence[Patch]) -> Path:
    tree = directory / "newer"
    for package in _PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, before, after in patches:
        text = (tree / name).read_text()
        assert text.count(before) == 1, f"{name} has changed: {before!r}"
        (tree / name).write_text(text.replace(before, after))
    return tree
