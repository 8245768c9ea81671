"""Bars as SVG: one line each, its name before it and its figure behind it."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

import msgspec

_WIDTH, _NAMES, _FIGURES = 760, 260, 110
_LINE, _THICK, _TOP, _BOTTOM = 26, 16, 46, 14
_OURS, _THEIRS, _INK, _MARK = "#5469d4", "#aab4c8", "#22292f", "#c2410c"


class Bar(msgspec.Struct, frozen=True):
    name: str
    value: float
    shown: str
    ours: bool = True


def chart(title: str, bars: Sequence[Bar], *, mark: float | None = None, marked: str = "") -> str:
    """``mark`` draws a line at what the value is held against; ``marked`` says what that is."""
    height = _TOP + _LINE * len(bars) + _BOTTOM
    most = max([bar.value for bar in bars] + ([mark] if mark else [])) or 1.0
    scale = (_WIDTH - _NAMES - _FIGURES) / most
    lines = [_line(bar, _TOP + _LINE * place, scale) for place, bar in enumerate(bars)]
    if mark is not None:
        lines.append(_mark(_NAMES + mark * scale, height, marked))
    body = "\n".join(lines)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}" font-family="system-ui, sans-serif" font-size="13">\n'
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>\n'
        f'<text x="14" y="24" font-size="15" font-weight="600" fill="{_INK}">{escape(title)}</text>\n'
        f"{body}\n</svg>\n"
    )


def _line(bar: Bar, top: int, scale: float) -> str:
    width = max(bar.value * scale, 1.0)
    middle = top + _THICK - 4
    return (
        f'<text x="{_NAMES - 10}" y="{middle}" text-anchor="end" fill="{_INK}">{escape(bar.name)}</text>\n'
        f'<rect x="{_NAMES}" y="{top}" width="{width:.1f}" height="{_THICK}" rx="2" '
        f'fill="{_OURS if bar.ours else _THEIRS}"/>\n'
        f'<text x="{_NAMES + width + 8:.1f}" y="{middle}" fill="{_INK}">{escape(bar.shown)}</text>'
    )


def _mark(x: float, height: int, marked: str) -> str:
    return (
        f'<path d="M{x:.1f} {_TOP - 6} V{height - 8}" stroke="{_MARK}" stroke-width="1.5" '
        f'stroke-dasharray="4 3"/>\n'
        f'<text x="{x - 6:.1f}" y="{_TOP - 10}" text-anchor="end" font-size="12" fill="{_MARK}">'
        f"{escape(marked)}</text>"
    )
