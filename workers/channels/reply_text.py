"""Makes what a provider says fit to be recorded."""

from __future__ import annotations

LONGEST_TEXT = 500


def reply_text(text: str) -> str:
    """One line of at most 500 printable characters: no controls, no surrogates, nothing a store refuses."""
    shown = text[: 4 * LONGEST_TEXT]
    if not shown.isprintable():
        shown = "".join(letter if letter.isprintable() else " " for letter in shown)
    return " ".join(shown.split())[:LONGEST_TEXT]


def error_text(error: BaseException) -> str:
    return reply_text(f"{type(error).__name__}: {error}").rstrip(": ")
