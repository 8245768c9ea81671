"""References that providers call back with."""

from __future__ import annotations

import base64
import os
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_log.callbacks import Reference, open_reference, seal_reference
from event_log.deployment_key import Seal

SEAL = Seal(bytes(range(32)), os.urandom)
OURS = Reference(UUID("0a5f3a52-5cbe-5b0e-8d6c-0a1d7c2b9f11"), 3)


@given(st.uuids(), st.integers(0, 2**32 - 1))
def test_a_reference_opens_again(notification: UUID, attempt: int) -> None:
    reference = Reference(notification, attempt)
    assert open_reference(SEAL, seal_reference(SEAL, reference)) == reference


@given(st.text() | st.text(alphabet="abcXYZ019-_=", max_size=300))
def test_what_others_made_up_does_not_open(text: str) -> None:
    assert open_reference(SEAL, text) is None


@given(st.integers(0, 63), st.sampled_from("ABab01-_"))
def test_what_was_altered_does_not_open_as_another(place: int, sign: str) -> None:
    text = seal_reference(SEAL, OURS)
    altered = text[:place] + sign + text[place + 1 :]
    assert open_reference(SEAL, altered) in ({OURS, None} if altered == text else {None})


def test_another_deployments_key_does_not_open_it() -> None:
    assert open_reference(Seal(bytes(32), os.urandom), seal_reference(SEAL, OURS)) is None


@pytest.mark.parametrize(
    "part", [OURS.notification.bytes, str(OURS.notification).encode(), OURS.notification.hex.encode()]
)
def test_it_shows_nothing_of_what_it_names(part: bytes) -> None:
    text = seal_reference(SEAL, OURS)
    assert part not in text.encode()
    assert part not in base64.urlsafe_b64decode(text)
    assert seal_reference(SEAL, OURS) != text
