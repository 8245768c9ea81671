"""How much memory the embedded server takes for itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidings.postgres.memory import memory_settings


@pytest.mark.parametrize(
    ("limit", "shared", "cached"),
    [
        pytest.param("268435456\n", "128MB", "256MB", id="256 MiB"),
        pytest.param("2147483648\n", "256MB", "1024MB", id="2 GiB"),
    ],
)
def test_a_container_gives_no_more_than_it_has(tmp_path: Path, limit: str, shared: str, cached: str) -> None:
    (tmp_path / "memory.max").write_text(limit)
    settings = memory_settings(tmp_path / "memory.max")
    assert settings == {"shared_buffers": shared, "effective_cache_size": cached}


@pytest.mark.parametrize("text", ["max\n", None])
def test_without_a_limit_the_machine_counts(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "memory.max").write_text(text)
    shared = int(memory_settings(tmp_path / "memory.max")["shared_buffers"].removesuffix("MB"))
    assert 128 <= shared <= 1024
