"""Logging, set up once a process: one line an entry on standard error, as text or JSON."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

QUIET = ("aiosmtplib", "twilio", "aiohttp", "asyncio", "eventsourcing", "psycopg", "uvicorn")
"""Libraries that speak at every turn, or of requests' headers."""
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName", "asctime"}


def configure_logging(process: str, *, level: str, form: str) -> None:
    """``form`` is text or json; extra fields of a record become key=value."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLine(process) if form == "json" else TextLine(process))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


class TextLine(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        extras = "".join(f" {name}={_quoted(value)}" for name, value in _extras(record).items())
        line = (
            f"{_moment(record)} {record.levelname.lower():7} {self._process:8} {record.getMessage()}{extras}"
        )
        return "\\n".join(line.splitlines()) + self._trouble(record)

    def _trouble(self, record: logging.LogRecord) -> str:
        return f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""


class JsonLine(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def _moment(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _PLAIN}


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or any(c in text for c in ' "=\n\r') else text
