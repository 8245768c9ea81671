"""Mails of about 8 KB: the layout as it ships, with as much text in it as teams put there.

The shipped texts make mails of 5 KB. Workers run with `python -m benchmarks.long_texts worker`.
"""

from __future__ import annotations

from functools import cache, wraps

from msgspec.structs import replace

from tidings.__main__ import main
from workers.rendering import texts
from workers.rendering.texts import MessageTexts

PROGRAM = "benchmarks.long_texts"
PARAGRAPHS = """
You get this message because of something that happened in your account. It was sent by a machine and nobody
reads what is sent back to it; the people of our help desk answer every question, on the phone as well.

Nobody of our company will ever ask you for a code like this one, neither on the phone nor in a chat. Whoever
does is not one of us. If you have told it to somebody already, choose a new password at once and let us know.

Did you know that you can sign in without a password? Open the settings of your account, choose a passkey and
follow what your phone or computer asks. It takes a minute, and from then on nothing is left to be stolen.

The devices that are signed in at the moment stand in your account under security. Whatever you do not know
there can be signed out with one click, and we tell you by mail when a new one comes up.
"""
FOOTER = """
Example Company, 1 Example Street, 12345 Example Town. Registered there as number 1234567, VAT EX123456789.
This message and what is attached to it may be confidential; if it has reached you by mistake, delete it.
"""


def lengthened(given: MessageTexts) -> MessageTexts:
    if not given.subject:
        return given
    return replace(given, text=f"{given.text}\n{PARAGRAPHS}", footer=FOOTER)


def lengthen() -> None:
    """In this process, before any text has been asked for."""
    shipped = texts.builtin_language

    @cache
    @wraps(shipped)
    def longer(language: str) -> dict[str, MessageTexts]:
        return {name: lengthened(given) for name, given in shipped(language).items()}

    setattr(texts, "builtin_language", longer)  # noqa: B010  # what others import is not ours to give


if __name__ == "__main__":
    lengthen()
    main()
