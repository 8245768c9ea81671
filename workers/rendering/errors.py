"""What can go wrong while a message is made.

TemplateError
└── HeaderRefused
"""

from __future__ import annotations


class TemplateError(Exception):
    """The message cannot be made in this form; the text names the placeholder or header, never a value."""


class HeaderRefused(TemplateError):
    """An address or header that could become structure of the message, or is no valid one at all."""
