"""A key for each subject, wrapped by the deployment's key; destroying it erases what it sealed."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeAlias
from uuid import UUID

from cryptography.exceptions import InvalidTag
from psycopg import Cursor

from event_log.deployment_key import KEY_BYTES, DeploymentKey, Seal
from event_log.errors import DatabaseUnusable, Undecodable
from event_log.sql import load

_queries = load("event_log", "keyring.sql")
_logger = logging.getLogger(__name__)
_PROOF = UUID(int=0)
"""Names the row by which a deployment's key is known again."""
_KEPT = 20_000
"""Keys kept unwrapped in a process, the least recently used go first."""

Owner: TypeAlias = tuple[str, str]
"""(instance, subject)"""
KeyId: TypeAlias = bytes
"""The bytes of a UUID, as they stand in what the key has sealed."""
KEY_ID_BYTES = 16


class Keyring:
    """Finds, makes and remembers subjects' keys; may be shared by threads."""

    def __init__(self, key: DeploymentKey, chance: Callable[[int], bytes]) -> None:
        self._wrap = Seal(key.derive("subject keys"), chance)
        self._chance = chance
        self._seals: OrderedDict[KeyId, Seal] = OrderedDict()
        self._guard = threading.Lock()

    def for_writing(self, cursor: Cursor[Any], owners: Iterable[Owner]) -> dict[Owner, tuple[KeyId, Seal]]:
        """The owners' keys, made where there is none yet, in the cursor's transaction.

        The caller holds the append lock, so that no two writers make a key for one owner.
        """
        wanted = set(owners)
        found = self.known(cursor, wanted)
        missing = [owner for owner in wanted if owner not in found]
        if missing:
            found |= self._make(cursor, missing)
        return found

    def for_reading(self, cursor: Cursor[Any], key_ids: Iterable[KeyId]) -> dict[KeyId, Seal]:
        """Seals by key id; an id that is not among them was destroyed."""
        wanted = set(key_ids)
        seals = self._remembered(wanted)
        unknown = [UUID(bytes=key_id) for key_id in wanted - seals.keys()]
        if unknown:
            cursor.execute(_queries.select_by_id, {"key_ids": unknown}, prepare=True)
            for key_id, wrapped in cursor.fetchall():
                try:
                    seals[key_id.bytes] = self._remember(key_id.bytes, wrapped)
                except Undecodable as damage:
                    # One damaged key must not stop the readers of all others: it counts as destroyed.
                    _logger.error("%s", damage)  # noqa: TRY400  # says all
        return seals

    def prove(self, cursor: Cursor[Any]) -> None:
        """Raises DatabaseUnusable when the deployment's key is not the one this database was begun with."""
        proof = {"key_id": _PROOF, "wrapped_key": self._wrap.seal(_PROOF.bytes, _PROOF.bytes)}
        cursor.execute(_queries.begin_proof, proof)
        cursor.execute(_queries.select_by_id, {"key_ids": [_PROOF]})
        row = cursor.fetchone()
        try:
            self._wrap.open(bytes(row[1]) if row else b"", _PROOF.bytes)
        except InvalidTag:
            raise DatabaseUnusable(
                "this database was begun with another secret key: "
                "give back the TIDINGS_SECRET_KEY (or the secret.key file) it was made with."
            ) from None

    def known(self, cursor: Cursor[Any], owners: Collection[Owner]) -> dict[Owner, tuple[KeyId, Seal]]:
        """The keys of those who have one; needs no lock."""
        cursor.execute(
            _queries.select_by_owner,
            {"instances": [owner[0] for owner in owners], "subjects": [owner[1] for owner in owners]},
            prepare=True,
        )
        found = [(owner, key_id.bytes, wrapped) for *owner, key_id, wrapped in cursor.fetchall()]
        seals = self._remembered(key_id for _, key_id, _ in found)
        return {
            (instance, subject): (key_id, seals.get(key_id) or self._remember(key_id, wrapped))
            for (instance, subject), key_id, wrapped in found
        }

    def _make(self, cursor: Cursor[Any], owners: list[Owner]) -> dict[Owner, tuple[KeyId, Seal]]:
        made: dict[Owner, tuple[KeyId, Seal]] = {}
        key_ids, wrapped_keys = [], []
        for owner in owners:
            key, key_id = self._chance(KEY_BYTES), UUID(bytes=self._chance(KEY_ID_BYTES), version=4)
            key_ids.append(key_id)
            wrapped_keys.append(self._wrap.seal(key, key_id.bytes))
            # Not remembered: this transaction may yet be rolled back.
            made[owner] = (key_id.bytes, Seal(key, self._chance))
        cursor.execute(
            _queries.insert_keys,
            {
                "instances": [owner[0] for owner in owners],
                "subjects": [owner[1] for owner in owners],
                "key_ids": key_ids,
                "wrapped_keys": wrapped_keys,
            },
            prepare=True,
        )
        return made

    def _remembered(self, key_ids: Iterable[KeyId]) -> dict[KeyId, Seal]:
        with self._guard:
            known = {key_id: seal for key_id in key_ids if (seal := self._seals.get(key_id))}
            for key_id in known:
                self._seals.move_to_end(key_id)
            return known

    def _remember(self, key_id: KeyId, wrapped: bytes) -> Seal:
        try:
            seal = Seal(self._wrap.open(bytes(wrapped), key_id), self._chance)
        except InvalidTag:
            named = UUID(bytes=key_id)
            raise Undecodable(f"the key {named} of a subject was altered and does not open") from None
        with self._guard:
            self._seals[key_id] = seal
            if len(self._seals) > _KEPT:
                self._seals.popitem(last=False)
        return seal
