"""Events as a login service appends them."""

from __future__ import annotations

from typing import Any

CODE = "S3CRET99"


def event(**changes: Any) -> dict[str, Any]:
    """A good event; a member changed to ``...`` is left out."""
    good: dict[str, Any] = {
        "specversion": "1.0",
        "id": "1",
        "source": "https://login.example.com",
        "type": "user.human.email.code.added",
        "subject": "user/42",
        "time": "2026-11-20T10:00:00Z",
        "data": {"code": CODE, "expiry": 3600},
    }
    return {name: value for name, value in (good | changes).items() if value is not ...}
