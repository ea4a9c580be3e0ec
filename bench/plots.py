"""Plots as SVG, made by hand: readable on light and dark pages, with the text in the reader's own fonts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH: Final = 760
_LABELS: Final = 290
_ROW: Final = 24
_TOP: Final = 44
_VALUES: Final = 110
_CURVES_HEIGHT: Final = 320  # of what is 1; there is room for what lies a little above
_ABOVE: Final = 40
_MARGIN: Final = 130
# Each colour has a contrast of 3 to 1 or more to its ground, text 7 to 1 (WCAG 2.2, 1.4.6 and 1.4.11).
_STYLE: Final = """<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.ground { fill: #ffffff }
.ours { fill: #0969da; stroke: #0969da }
.other { fill: #808993; stroke: #808993 }
.grid { stroke: #d0d7de }
polyline { stroke-width: 2; fill: none !important }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .ground { fill: #0d1117 }
  .ours { fill: #4493f8; stroke: #4493f8 }
  .other { fill: #7d8590; stroke: #7d8590 }
  .grid { stroke: #3d444d }
}
</style>"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar. `told` stands at its end, `ours` are the ones to look at; without a value it is a heading."""

    label: str
    value: float | None = None
    told: str = ""
    ours: bool = False


def bars(title: str, rows: Sequence[Bar]) -> str:
    """Horizontal bars from zero, as long as their values; the longest fills the width."""
    scale = (WIDTH - _LABELS - _VALUES) / max(row.value or 0.0 for row in rows)
    parts = []
    for number, row in enumerate(rows):
        y = _TOP + number * _ROW
        if row.value is None:
            parts.append(_text(16, y + 16, row.label, "title"))
            continue
        length = max(1.0, row.value * scale)
        kind = "ours" if row.ours else "other"
        parts += [
            _text(32, y + 16, row.label),
            f'<rect class="{kind}" x="{_LABELS}" y="{y + 4}" width="{length:.1f}" height="{_ROW - 8}"/>',
            _text(_LABELS + length + 6, y + 16, row.told),
        ]
    return _drawn(title, _TOP + len(rows) * _ROW + 12, parts)


def curves(title: str, series: Mapping[str, Sequence[float]], ours: str, below: str) -> str:
    """Values between 0 and 1 or little more, evenly from left to right; their names stand where they begin."""
    width, bottom = WIDTH - _MARGIN - 50, _TOP + _ABOVE + _CURVES_HEIGHT
    parts = []
    for tenth in range(0, 11, 2):
        y = bottom - _CURVES_HEIGHT * tenth / 10
        parts.append(f'<line class="grid" x1="{_MARGIN}" x2="{_MARGIN + width}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(WIDTH - 40, y + 4, f"{tenth / 10:.1f}"))
    for name, values in series.items():
        spots = [
            f"{_MARGIN + width * number / (len(values) - 1):.1f},{bottom - _CURVES_HEIGHT * value:.1f}"
            for number, value in enumerate(values)
        ]
        parts.append(f'<polyline class="{"ours" if name == ours else "other"}" points="{" ".join(spots)}"/>')
        parts.append(_text(16, bottom - _CURVES_HEIGHT * values[0] + 4, name))
    parts.append(_text(_MARGIN, bottom + 22, below))
    return _drawn(title, bottom + 36, parts)


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text{style} x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def _drawn(title: str, height: int, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'role="img">\n<title>{escape(title)}</title>'
    )
    ground = f'<rect class="ground" width="{WIDTH}" height="{height}"/>'
    return "\n".join([head, _STYLE, ground, _text(16, 26, title, "title"), *parts, "</svg>", ""])
