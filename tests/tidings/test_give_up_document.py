"""The example in docs/give-up.md: its own code accepts its own call, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from notification_domain.give_ups import NOT_TOLD
from notification_domain.notification_events import Reason

TEXT = (Path(__file__).parents[2] / "docs" / "give-up.md").read_text()
Verify = Callable[..., bool]


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return str(found)


def headers() -> dict[str, str]:
    lines = block("http").splitlines()[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


@pytest.fixture
def is_ours() -> Verify:
    names: dict[str, Any] = {}
    exec(block("python"), names)  # what a reader would copy
    verify = names["is_ours"]
    assert callable(verify)
    return verify


def test_the_code_accepts_the_call_it_stands_below(is_ours: Verify) -> None:
    (key,) = re.findall(r"whsec_[\w+/]+=*", TEXT.partition("signed with")[2])
    body, stamp = block("json").strip().encode(), int(headers()["webhook-timestamp"])
    assert is_ours(headers(), body, key, now=lambda: stamp + 10)
    assert not is_ours(headers(), body + b" ", key, now=lambda: stamp + 10)
    assert not is_ours(headers(), body, key, now=lambda: stamp + 301)
    assert json.loads(body)["id"] == headers()["webhook-id"]


def test_the_tables_name_every_reason_of_a_cancellation_on_its_side() -> None:
    told, _, not_told = TEXT.partition("Other reasons")
    for reason in set(Reason) - {Reason.CODE_RETURNED, Reason.POLICY_OFF}:
        assert (f"`{reason.value}`" in told) == (reason in NOT_TOLD)
        assert (f"| `{reason.value}` |" in not_told) == (reason not in NOT_TOLD)
