"""What a worker reads after a claim: streams folded, recipients, codes, and what happened meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from event_log import secret_store
from event_log.database import LogCursor
from event_log.due_queue import Claim
from event_log.envelope import RecordedEvent
from event_log.errors import Undecodable
from event_log.keyring import Owner
from event_log.log import Log, read_stream, whole_streams
from event_log.notifications import fold_stream
from notification_domain.notification import Declined, Initial
from notification_domain.recipients import Instance, Organisation, Session, User
from projections.recipients import Damaged, Knowledge, acquaintance, load_readable, subjects_of
from workers.preparing import Recipient
from workers.recording import Around, Doubt, Held, Objection, Subject, objections

_logger = logging.getLogger(__name__)


class Loaded(msgspec.Struct, frozen=True):
    """One claimed notification with all that its delivery needs to know."""

    subject: Subject
    lost_claims: int
    recipient: Recipient
    code: str | None
    obstacle: Objection | None

    @property
    def held(self) -> Held:
        return self.subject.held


def load(log: Log, claims: Sequence[Claim]) -> list[Loaded]:
    """Everything about the claimed notifications in a handful of statements.

    A stream this code cannot read (damaged, or written by newer code) is left out.
    """
    with log.database.connection() as connection:
        cursor = connection.cursor(binary=True)
        streams = whole_streams(log, cursor, [claim.notification for claim in claims])
        read = [(claim, h) for claim in claims if (h := _held(claim, streams.get(claim.notification, [])))]
        return _loaded(log, cursor, read) if read else []


def _loaded(log: Log, cursor: LogCursor, read: Sequence[tuple[Claim, Held]]) -> list[Loaded]:
    held = [h for _, h in read]
    recipients = _recipients(log, cursor, held)
    codes = secret_store.reveal(cursor, log.secret_seal, [h.request.secret for h in held])
    subjects = [
        Subject(h, one.user, _told_until(h, one), one.user_id, one.around)
        for h, one in zip(held, recipients, strict=True)
    ]
    found = objections(log, cursor, subjects)
    return [
        Loaded(subject, claim.lost_claims, recipient, codes.get(h.request.secret), what or _damage(recipient))
        for (claim, h), subject, recipient, what in zip(read, subjects, recipients, found, strict=True)
    ]


def _told_until(held: Held, recipient: Recipient) -> int:
    """The version of the user's stream up to which the read model has told all there is to their state.

    What the notification came from was handled together with everything in front of it. Of whom there is
    no row, nothing was told.
    """
    source, version = held.request.source, recipient.version
    return (
        max(version, source.version) if version and source.subject == f"user/{recipient.user_id}" else version
    )


def reload(log: Log, held: Held) -> Held:
    """The notification as the log has it now."""
    events = read_stream(log, held.notification)
    state = fold_stream(events)
    assert not isinstance(state, Initial | Declined), "a notification that was requested stays so"
    return msgspec.structs.replace(held, state=state, version=len(events))


def _held(claim: Claim, events: Sequence[RecordedEvent]) -> Held | None:
    try:
        state = fold_stream(events)
    except Undecodable as reason:
        _logger.warning("notification %s is left alone: %s", claim.notification, reason)
        return None
    if isinstance(state, Initial | Declined):
        return None
    return Held(claim.notification, claim.instance, claim.token, state, len(events))


def _recipients(log: Log, cursor: LogCursor, held: Sequence[Held]) -> list[Recipient]:
    sessions = {
        (h.instance, h.request.source.subject)
        for h in held
        if not h.request.user_id and h.request.source.subject.startswith("session/")
    }
    known, damaged = load_readable(log, cursor, sessions)
    user_ids = [h.request.user_id or _session_user(known, h) for h in held]
    wanted = {(h.instance, "instance") for h in held}
    for h, user_id in zip(held, user_ids, strict=True):
        wanted.update((h.instance, s) for s in subjects_of(user_id, h.request.organisation_id, ""))
    _learn(log, cursor, wanted, (known, damaged))
    organisations = [_organisation(known, h, u) for h, u in zip(held, user_ids, strict=True)]
    named = {(h.instance, s) for h, subjects in zip(held, organisations, strict=True) for s in subjects}
    _learn(log, cursor, named - wanted, (known, damaged))
    return [
        _recipient((known, damaged), h, user_id, organisation)
        for h, user_id, organisation in zip(held, user_ids, organisations, strict=True)
    ]


def _learn(log: Log, cursor: LogCursor, wanted: set[Owner], into: tuple[Knowledge, Damaged]) -> None:
    found, damaged = load_readable(log, cursor, wanted)
    into[0].update(found)
    into[1].update(damaged)


def _session_user(known: Knowledge, held: Held) -> str:
    session = known.get((held.instance, held.request.source.subject))
    return session.state.user_id if session and isinstance(session.state, Session) else ""


def _organisation(known: Knowledge, held: Held, user_id: str) -> tuple[str, ...]:
    user = known.get((held.instance, f"user/{user_id}"))
    of_user = user.state.organisation_id if user and isinstance(user.state, User) else ""
    return subjects_of("", held.request.organisation_id or of_user, "")


def _recipient(
    read: tuple[Knowledge, Damaged], held: Held, user_id: str, organisation: tuple[str, ...]
) -> Recipient:
    known, damaged = read
    user = known.get((held.instance, f"user/{user_id}"))
    subjects = subjects_of(user_id, "", "") + organisation
    people = acquaintance(known, held.instance, subjects)
    return Recipient(
        damage=_damage_among(damaged, held, subjects) if damaged else "",
        known=user is not None and _is_introduced(people.user),
        user_id=user_id,
        version=user.version if user else 0,
        user=people.user,
        organisation=people.organisation,
        instance=people.instance,
        around=tuple(_around(known, held, subject) for subject in (*organisation, "instance")),
    )


def _damage_among(damaged: Damaged, held: Held, subjects: Sequence[str]) -> str:
    concerned = (held.request.source.subject, *subjects, "instance")
    found = (damaged[held.instance, one] for one in concerned if (held.instance, one) in damaged)
    return str(next(found, ""))


def _around(known: Knowledge, held: Held, subject: str) -> Around:
    found = known.get((held.instance, subject))
    if found is None or not isinstance(found.state, Organisation | Instance):
        return Around(subject)
    return Around(subject, found.state.state, found.version)


def _is_introduced(user: User) -> bool:
    """Whether the event that adds them has come: others may overtake it, and tell of no address."""
    return bool(user.display_name or user.last_email or user.last_phone)


def _damage(recipient: Recipient) -> Doubt | None:
    return Doubt(recipient.damage, "recipient") if recipient.damage else None
