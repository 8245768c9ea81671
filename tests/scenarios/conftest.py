"""The stage of the workers' tests: a real database, the sandbox, and a clock that is moved."""

from __future__ import annotations

from tests.workers.conftest import conninfo, office, story

__all__ = ["conninfo", "office", "story"]
